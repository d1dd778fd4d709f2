"""Reads of the billing app."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from billing.books import open_window
from billing.models import Budget, Hold, LedgerEntry, Price, UsageRecord, Wallet
from billing.pricing.rates import PriceInfo


def price_info(price: Price) -> PriceInfo:
    """A price as the relay keeps it."""
    return PriceInfo(
        id=price.pk,
        model_name=price.model_name,
        tier=price.tier,
        units={name: Decimal(value) for name, value in price.units.items()},
        long_above=price.long_context_above,
        long_units={name: Decimal(value) for name, value in price.long_context_units.items()},
        effective_from=price.effective_from,
    )


def prices(*, model_names: Iterable[str] | None = None) -> dict[str, list[PriceInfo]]:
    """Every price by model name, the one that takes effect last first."""
    rows = Price.objects.order_by("-effective_from", "-id")
    if model_names is not None:
        rows = rows.filter(model_name__in=list(model_names))
    found: dict[str, list[PriceInfo]] = {}
    for row in rows.iterator():
        found.setdefault(row.model_name, []).append(price_info(row))
    return found


def with_price_in_force(rows: QuerySet[Price]) -> QuerySet[Price]:
    """Prices with `in_force_id`: the number of the price in force now for the same model and tier."""
    in_force = (
        Price.objects.filter(
            model_name=OuterRef("model_name"), tier=OuterRef("tier"), effective_from__lte=timezone.now()
        )
        .order_by("-effective_from", "-pk")
        .values("pk")[:1]
    )
    return rows.annotate(in_force_id=Subquery(in_force))


def current_prices(*, model_names: Iterable[str]) -> dict[str, Price]:
    """The standard price in force now, by model name."""
    rows = Price.objects.filter(
        model_name__in=list(model_names), tier=Price.STANDARD, effective_from__lte=timezone.now()
    )
    return {price.model_name: price for price in rows.order_by("effective_from", "pk")}


def budget_ids(*, organization_id: int, user_id: int, api_key_id: int) -> tuple[int, ...]:
    """The budgets that a request of this key counts against: the key's, the member's, the organization's."""
    rows = _budgets(organization_id=organization_id, user_id=user_id, api_key_id=api_key_id)
    return tuple(rows.values_list("id", flat=True))


def _budgets(*, organization_id: int, user_id: int, api_key_id: int) -> QuerySet[Budget]:
    return (
        Budget.objects.filter(organization_id=organization_id)
        .filter(
            Q(api_key_id=api_key_id)
            | Q(user_id=user_id, api_key__isnull=True)
            | Q(user__isnull=True, api_key__isnull=True)
        )
        .order_by("id")
    )


def spent_now(budget: Budget, today: date) -> int:
    """What was spent in the window that is open today (UTC), in nanos: the row itself may tell of the last one."""
    current = open_window(budget.window, budget.window_start, today)
    return budget.spent_nanos if budget.window_start == current else 0


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget today, in nanos.

    `scope`: "key", "member" or "organization"; `window`: "total", "day", "week" or "month".
    """

    scope: str
    window: str
    limit: int
    spent: int
    held: int

    @property
    def remaining(self) -> int:
        """What may still be spent; never negative."""
        return max(0, self.limit - self.spent - self.held)

    @property
    def used_percent(self) -> int:
        """How much of it is spent or held, 0 to 100."""
        return 100 if self.limit <= 0 else min(100, (self.spent + self.held) * 100 // self.limit)


def budget_states(*, organization_id: int, user_id: int, api_key_id: int, today: date) -> list[BudgetState]:
    """How the budgets of a key's requests stand on a day (UTC)."""
    rows = _budgets(organization_id=organization_id, user_id=user_id, api_key_id=api_key_id)
    return [budget_state(row, today) for row in rows]


@dataclass(frozen=True, slots=True)
class NamedBudget:
    """A budget of an organization with whom it is of: a key, a member (by e-mail), or the organization (no name)."""

    name: str
    api_key_id: int | None
    state: BudgetState


def budgets_of(*, organization_id: int, today: date, limit: int) -> list[NamedBudget]:
    """An organization's budgets, its own first, then its members', then its keys'; at most `limit`."""
    rows = (
        Budget.objects.filter(organization_id=organization_id, api_key__deleted_at__isnull=True)
        .select_related("api_key", "user")
        .order_by(F("api_key").asc(nulls_first=True), F("user").asc(nulls_first=True), "id")
    )
    return [
        NamedBudget(
            name=row.api_key.name if row.api_key is not None else row.user.email if row.user is not None else "",
            api_key_id=row.api_key_id,
            state=budget_state(row, today),
        )
        for row in rows[:limit]
    ]


def budget_state(row: Budget, today: date) -> BudgetState:
    """How a budget stands on a day (UTC)."""
    return BudgetState(
        scope="key" if row.api_key_id is not None else "member" if row.user_id is not None else "organization",
        window=row.window,
        limit=row.limit_nanos,
        spent=spent_now(row, today),
        held=row.held_nanos,
    )


@dataclass(frozen=True, slots=True)
class Credits:
    """An organization's money, in nanos.

    `credited`: all that was ever put in, less debits. `balance`: that, less all charges, those that wait for their
    ledger entry too. `held`: what requests under way hold of it.
    """

    credited: int = 0
    balance: int = 0
    held: int = 0
    credit_limit: int = 0

    @property
    def used(self) -> int:
        """All that was ever charged."""
        return self.credited - self.balance


def credits_of(*, organization_id: int) -> Credits:
    """An organization's money in one statement, so that the figures agree; zeros where it never had any."""
    entries = LedgerEntry.objects.filter(wallet=OuterRef("pk")).exclude(kind=LedgerEntry.Kind.USAGE)
    charges = Hold.objects.filter(wallet=OuterRef("pk"), captured=True)
    row = (
        Wallet.objects.filter(pk=organization_id)
        .values_list("balance_nanos", "held_nanos", "credit_limit_nanos")
        .annotate(
            credited=Coalesce(Subquery(_sum_of(entries, "wallet", "amount_nanos")), 0),
            charged=Coalesce(Subquery(_sum_of(charges, "wallet", "amount_nanos")), 0),
        )
        .first()
    )
    if row is None:
        return Credits()
    balance, held, limit, credited, charged = row
    return Credits(credited=credited, balance=balance - charged, held=held - charged, credit_limit=limit)


def _sum_of(rows: QuerySet, group: str, column: str) -> QuerySet:
    """The sum of a column as a subquery."""
    return rows.order_by().values(group).annotate(total=Sum(column)).values("total")


def request_record(*, organization_id: int, request_id: str) -> UsageRecord | None:
    """An organization's record of a request."""
    return UsageRecord.objects.filter(organization_id=organization_id, pk=request_id).first()


def is_under_way(*, organization_id: int, request_id: str) -> bool:
    """Whether an organization's request holds money. Ask before its record: once it holds none, that is there."""
    return Hold.objects.filter(wallet_id=organization_id, pk=request_id, captured=False).exists()
