"""Where held and spent amounts move, and nowhere else: how much a request may hold, and every UPDATE of those columns.

`Books` and `grant` are pure: a batch of the writer is decided by them, and written by `statements`.
The functions at the end are for settlement, the sweep and services, which hold the wallet's lock or its transaction.
All amounts are nanos.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from django.db.models import F

from billing.models import Budget, Wallet
from billing.writing.items import Granted, HoldItem, Refused
from billing.writing.statements import Dialect

# A request takes at most this share of what a wallet has left, unless it says itself what it needs.
SHARE = 8


@dataclass(slots=True)
class BookedWallet:
    """What a wallet has left, and by how much the batch changes what it holds."""

    available: int
    delta: int = 0


@dataclass(slots=True)
class BookedBudget:
    """A budget in the window that is counted now."""

    limit: int
    window_start: date | None
    spent: int
    held: int

    @property
    def available(self) -> int:
        return self.limit - self.spent - self.held


@dataclass(slots=True)
class Books:
    """The wallets and budgets of a batch, as the database has them now and as the batch will leave them."""

    wallets: dict[int, BookedWallet] = field(default_factory=dict)
    budgets: dict[int, BookedBudget] = field(default_factory=dict)

    def move(self, organization_id: int, budget_ids: Iterable[int], *, held: int, spent: int) -> None:
        """Change what is held by `held`, of which `spent` will be charged: a budget counts that as spent at once."""
        wallet = self.wallets.get(organization_id)
        if wallet is not None:
            wallet.available -= held
            wallet.delta += held
        for budget_id in budget_ids:
            budget = self.budgets.get(budget_id)
            if budget is not None:
                budget.held += held - spent
                budget.spent += spent

    def decide(self, item: HoldItem) -> Granted | Refused:
        """How much an item is granted, of its wallet and of every budget it counts against: all or none."""
        wallet = self.wallets.get(item.organization_id)
        available, budget_id = (wallet.available if wallet is not None else 0), None
        for number in item.budget_ids:
            budget = self.budgets.get(number)
            if budget is not None and budget.available < available:
                available, budget_id = budget.available, number
        amount = grant(available=available, minimum=item.minimum, want=item.want)
        if amount is None and item.want == 0:
            amount = 0  # what costs nothing is never refused for want of money
        return Granted(amount) if amount is not None else Refused(max(0, available), budget_id)


def window_start(window: str, today: date) -> date | None:
    """The first day (UTC) of the budget window that `today` is in; None for a window that never ends.

    A week is that of ISO 8601: it starts on Monday.
    """
    if window == "day":
        return today
    if window == "week":
        return today - timedelta(days=today.weekday())
    return today.replace(day=1) if window == "month" else None


def open_window(window: str, start: date | None, today: date) -> date | None:
    """The window to count in: that of `today`, unless a process whose clock is ahead has opened a later one."""
    current = window_start(window, today)
    if current is not None and start is not None and current < start <= today + timedelta(days=1):
        return start
    return current


def grant(*, available: int, minimum: int, want: int) -> int | None:
    """How much of `want` to hold of what is available, or None to refuse. All in nanos.

    The whole of it where that is at most an eighth of what is left; else an eighth, though never below `minimum`.
    """
    if minimum > available or available < 0:
        return None
    return min(want, max(minimum, available // SHARE))


def statements(dialect: Dialect) -> dict[str, str]:
    """The writer's statements, on what a batch has decided: deltas of wallets, and budgets as they are from now on."""
    wallets = dialect.rows([("id", "bigint"), ("delta", "bigint")])
    budgets = dialect.rows([("id", "bigint"), ("spent", "bigint"), ("held", "bigint"), ("window_start", "date")])
    return {
        "move_held": dialect.sql(
            f"UPDATE billing_wallet SET held_nanos = held_nanos + v.delta FROM {wallets} "
            "WHERE billing_wallet.organization_id = v.id"
        ),
        "move_budgets": dialect.sql(
            "UPDATE billing_budget SET spent_nanos = v.spent, held_nanos = v.held, window_start = v.window_start "
            f"FROM {budgets} WHERE billing_budget.id = v.id"
        ),
    }


def add_to_balance(wallet_id: int, amount: int) -> None:
    """A ledger entry's signed amount: the caller has written the entry, under the wallet's lock."""
    Wallet.objects.filter(pk=wallet_id).update(balance_nanos=F("balance_nanos") + amount)


def charge(wallet_id: int, amount: int, *, alias: str) -> None:
    """What was captured and held leaves the balance: the caller has written its ledger entry."""
    Wallet.objects.using(alias).filter(pk=wallet_id).update(
        balance_nanos=F("balance_nanos") - amount, held_nanos=F("held_nanos") - amount
    )


def release(wallet_id: int, amount: int, *, alias: str) -> None:
    """What was held is the wallet's again: the caller has deleted the holds."""
    Wallet.objects.using(alias).filter(pk=wallet_id).update(held_nanos=F("held_nanos") - amount)


def release_budget(budget_id: int, amount: int, *, alias: str) -> None:
    """What was held is the budget's again: the caller has deleted the holds."""
    Budget.objects.using(alias).filter(pk=budget_id).update(held_nanos=F("held_nanos") - amount)
