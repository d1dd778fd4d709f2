"""The arithmetic of a batch: what wallets and budgets have left, and how much of it a request may hold. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from billing.writing.items import Granted, HoldItem, Refused

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
