"""Statements: opening balance, what people moved, usage, closing balance; a month begins where the last one ended."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Membership, Organization
from accounts.selectors import Reach
from accounts.services import create_user
from billing.models import DayTotal, LedgerEntry, Wallet
from billing.reports import usage
from billing.reports.statement import LedgerLine, Statement, balance_before, entries_of, ledger, months, statement
from billing.reports.usage import Period, month_of
from billing.settlement import settle
from tests.cast.examples import examples
from tests.cast.money import Bank, bank_fixture  # noqa: F401

TODAY = date(2026, 5, 14)
MAY = month_of(TODAY)


class Paper:
    """An organization made in March 2026, and rows of its money."""

    def __init__(self) -> None:
        self.alice = create_user(email="alice@example.com", password="x")
        self.operator = create_user(email="operator@example.com", password="x")
        self.organization = self.made(Membership.objects.get(user=self.alice).organization_id)
        self.other = self.made(Membership.objects.get(user=self.operator).organization_id)
        self._entries = 0

    @staticmethod
    def made(number: int) -> int:
        Organization.objects.filter(pk=number).update(created_at=datetime(2026, 3, 9, tzinfo=UTC))
        return number

    def entry(self, at: datetime, amount: int, kind: str = "credit", **given: Any) -> LedgerEntry:
        self._entries += 1
        values = {"wallet_id": self.organization, "actor": self.operator, "note": "a note", **given}
        return LedgerEntry.objects.create(
            created_at=at, amount_nanos=amount, kind=kind, idempotency_key=f"test:{self._entries}", **values
        )

    def used(self, day: date, cost: int, model: str = "m", **given: Any) -> None:
        values = {"organization_id": self.organization, "requests": 1, "api_key_id": len(model), **given}
        DayTotal.objects.create(day=day, model=model, cost_nanos=cost, **values)

    def of(self, month: date, today: date = TODAY) -> Statement:
        return statement(organization_id=self.organization, month=month, today=today)


@pytest.fixture
def paper(db: None) -> Paper:
    return Paper()


def lines_of(organization_id: int, period: Period, limit: int) -> tuple[list[LedgerLine], bool]:
    days = usage.by_day(Reach(organization_id, None), period)
    return ledger(organization_id=organization_id, period=period, days=days, limit=limit)


def at(month: int, day: int, hour: int = 12, year: int = 2026) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def test_a_month_has_what_came_what_went_and_what_is_left(paper: Paper):
    paper.entry(at(3, 10), 10**17, kind="opening")
    paper.used(date(2026, 4, 30), 7)
    paper.entry(at(5, 1, 0), 500)
    paper.entry(at(5, 2), -40, kind="debit")
    paper.entry(at(5, 3), 60, kind="redemption", actor=paper.alice, note="Spring")
    paper.entry(at(5, 3), 0, kind="credit_limit", limit_change_nanos=900)
    paper.entry(at(5, 31, 23), 1)
    paper.entry(at(6, 1, 0), 4_000)
    paper.entry(at(5, 5), -11, kind="usage")  # settlement's: it is in the day totals
    paper.used(date(2026, 5, 1), 3, "a", input=5, failures=1)
    paper.used(date(2026, 5, 1), 4, "b")
    paper.used(date(2026, 5, 31), 4, "a", input=2)
    paper.used(date(2026, 6, 1), 5_000)
    paper.used(date(2026, 5, 1), 70_000, "c", organization_id=paper.other)
    paper.entry(at(5, 5), 80_000, wallet_id=paper.other)

    found = paper.of(MAY.first, today=date(2026, 6, 1))

    assert (found.month, found.finished) == (MAY, True)
    assert (found.opening_nanos, found.closing_nanos) == (10**17 - 7, 10**17 - 7 + 500 - 40 + 60 + 1 - 11)
    assert (found.added_nanos, found.taken_nanos, found.usage.cost_nanos) == (561, 40, 11)
    assert [(e.kind, e.amount_nanos, e.limit_change_nanos, e.member) for e in found.entries] == [
        ("credit", 500, 0, ""),
        ("debit", -40, 0, ""),
        ("redemption", 60, 0, "alice@example.com"),
        ("credit_limit", 0, 900, ""),
        ("credit", 1, 0, ""),
    ]
    assert found.entries[2].kind_text == "Redemption code"
    assert [(row.day.day, row.totals.cost_nanos, row.totals.requests) for row in found.by_day] == [
        (1, 7, 2),
        (31, 4, 1),
    ]
    assert [(row.model, row.totals.cost_nanos, row.totals.units) for row in found.by_model] == [
        ("a", 7, {"input": 7}),
        ("b", 4, {}),
    ]
    assert (found.usage.requests, found.usage.failures) == (3, 1)


def test_a_month_that_runs_closes_at_the_wallets_balance(bank: Bank):
    bank.credit(1_000)
    bank.spend("r1", 30)
    bank.spend("r2", 4, created_at=bank.batch.dialect.timestamp(datetime(2026, 4, 30, 23, 59, 59, tzinfo=UTC)))
    settle()
    today = datetime.now(UTC).date()

    found = statement(organization_id=bank.acme, month=today, today=today)

    assert found.finished is False
    assert found.closing_nanos == Wallet.objects.get(pk=bank.acme).balance_nanos == 966
    assert statement(organization_id=bank.acme, month=date(2026, 5, 1), today=today).usage.cost_nanos == 30


def test_the_last_day_of_a_month_is_not_its_end(paper: Paper):
    assert paper.of(MAY.first, today=date(2026, 5, 31)).finished is False
    assert paper.of(MAY.first, today=date(2026, 6, 1)).finished is True


def test_months_reach_from_the_first_to_this_one_and_each_ends_where_the_next_begins(paper: Paper):
    paper.entry(at(3, 10), 100)
    paper.used(date(2026, 3, 31), 30)
    paper.used(date(2026, 5, 2), 5)

    lines = months(organization_id=paper.organization, today=TODAY)

    assert [(m.first, m.moved_nanos, m.usage_nanos, m.closing_nanos, m.finished) for m in lines] == [
        (date(2026, 5, 1), 0, 5, 65, False),
        (date(2026, 4, 1), 0, 0, 70, True),
        (date(2026, 3, 1), 100, 30, 70, True),
    ]
    for line in lines:
        found = paper.of(line.first)
        assert found.closing_nanos == line.closing_nanos
        assert found.opening_nanos == line.closing_nanos - line.moved_nanos + line.usage_nanos


def test_months_of_a_new_organization_are_this_one(paper: Paper):
    [line] = months(organization_id=paper.organization, today=date(2026, 3, 9))
    assert (line.first, line.closing_nanos, line.finished) == (date(2026, 3, 1), 0, False)


def test_the_ledger_has_entries_and_days_of_usage_with_the_balance_after_each(paper: Paper):
    paper.entry(at(4, 10), 1_000)
    paper.entry(at(5, 2, 23), 50)
    paper.used(date(2026, 5, 2), 7, requests=4)
    paper.used(date(2026, 5, 2), 0, "free", requests=2)
    paper.used(date(2026, 5, 4), 8)
    paper.entry(at(5, 4, 1), -20, kind="debit")

    lines, more = lines_of(paper.organization, MAY, 10)

    assert more is False
    assert [
        (line.day.day, line.entry.kind if line.entry else "", line.requests, line.amount_nanos, line.balance_nanos)
        for line in lines
    ] == [(4, "", 1, -8, 1_015), (4, "debit", 0, -20, 1_023), (2, "", 6, -7, 1_043), (2, "credit", 0, 50, 1_050)]
    assert lines_of(paper.organization, MAY, 2) == (lines[:2], True)


def test_who_the_operators_are_is_not_said(paper: Paper):
    paper.entry(at(5, 2), 5)
    paper.entry(at(5, 3), 6, kind="redemption", actor=paper.alice)
    paper.entry(at(5, 4), 7, actor=None)

    found = entries_of(organization_id=paper.organization, period=MAY)

    assert [entry.member for entry in found] == ["", "alice@example.com", ""]


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moves=st.lists(st.tuples(st.integers(0, 400), st.integers(-(10**16), 10**16)), max_size=12),
    costs=st.dictionaries(st.integers(0, 400), st.integers(0, 10**16), max_size=12),
)
def test_every_month_is_exact_whatever_happened(paper: Paper, moves, costs):
    organization = Organization.objects.create(name="any")
    start = date(2025, 1, 1)
    Organization.objects.filter(pk=organization.pk).update(created_at=datetime(2025, 1, 1, tzinfo=UTC))
    for day, amount in moves:
        moment = datetime(2025, 1, 1, 13, tzinfo=UTC) + timedelta(days=day)
        paper.entry(moment, amount, kind="credit" if amount >= 0 else "debit", wallet_id=organization.pk)
    for day, cost in costs.items():
        paper.used(start + timedelta(days=day), cost, organization_id=organization.pk)
    today = start + timedelta(days=401)

    lines = months(organization_id=organization.pk, today=today)[::-1]

    opening = 0
    for line in lines:
        found = statement(organization_id=organization.pk, month=line.first, today=today)
        assert found.opening_nanos == opening == balance_before(organization_id=organization.pk, day=line.first)
        assert found.closing_nanos == opening + found.added_nanos - found.taken_nanos - found.usage.cost_nanos
        assert found.closing_nanos == line.closing_nanos
        assert sum(row.totals.cost_nanos for row in found.by_model) == found.usage.cost_nanos
        assert sum(row.totals.cost_nanos for row in found.by_day) == found.usage.cost_nanos
        opening = found.closing_nanos
    assert opening == sum(amount for _, amount in moves) - sum(costs.values())
    whole = Period(start, today)
    rows, _ = lines_of(organization.pk, whole, 1_000)
    assert (rows[0].balance_nanos if rows else 0) == opening
