"""The proof: every invariant of `docs/money.md`, checked in one snapshot of the database without stopping anyone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Count, Exists, OuterRef, Sum

from billing.models import Budget, DayTotal, Hold, LedgerEntry, UsageRecord, Wallet
from billing.sweep import orphans

Breach = dict[str, Any]
Kind = LedgerEntry.Kind
# How many breaches are listed; the count says how many there are, of single holds and records at most so many a kind.
SHOWN = 100


def reconcile(*, alias: str = DEFAULT_DB_ALIAS) -> dict[str, Any]:
    """Counts and every breach of an invariant: `{"breaches": [{"invariant", "subject", "expected", "found"}], …}`."""
    with snapshot(alias):
        books = _Books(alias)
        breaches = [
            *books.balances(),
            *books.held(),
            *books.charges(),
            *books.records_and_holds(),
            *books.overdrafts(),
            *books.budgets(),
            *books.day_totals(),
        ]
        return {
            "wallets": len(books.wallets),
            "records": sum(books.statuses.values()),
            "records_by_status": books.statuses,
            "unsettled": books.count(captured=True),
            "open_holds": books.count(captured=False),
            "orphaned_holds": books.orphans(),
            "charged_nanos": -sum(books.usage.values()),
            "overrun_nanos": sum(books.overruns.values()),
            "breach_count": len(breaches),
            "breaches": breaches[:SHOWN],
        }


@contextmanager
def snapshot(alias: str) -> Iterator[None]:
    """One unchanging view of everything: REPEATABLE READ, or a deferred transaction on SQLite. It is never written."""
    connection = connections[alias]
    if connection.in_atomic_block:
        yield  # a test's own transaction
        return
    begin = "BEGIN DEFERRED"
    if connection.vendor == "postgresql":
        begin = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
    with connection.cursor() as cursor:
        cursor.execute(begin)
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def _breach(invariant: str, subject: str, expected: object, found: object) -> Breach:
    return {"invariant": invariant, "subject": subject, "expected": expected, "found": found}


class _Books:
    """Sums by organization, read once."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.wallets = {wallet.pk: wallet for wallet in Wallet.objects.using(alias)}
        entries = LedgerEntry.objects.using(alias).order_by()
        self.ledger = _by(entries, "wallet_id", "amount_nanos")
        self.usage = _by(entries.filter(kind=Kind.USAGE), "wallet_id", "amount_nanos")
        self.debits = _by(entries.filter(kind=Kind.DEBIT), "wallet_id", "amount_nanos")
        self.limits = _by(entries, "wallet_id", "limit_change_nanos")
        self.limit_cuts = _by(entries.filter(limit_change_nanos__lt=0), "wallet_id", "limit_change_nanos")
        holds = Hold.objects.using(alias).order_by()
        self.holds = _by(holds, "wallet_id", "amount_nanos")
        self.captured = _by(holds.filter(captured=True), "wallet_id", "amount_nanos")
        records = UsageRecord.objects.using(alias).order_by()
        self.costs = _by(records, "organization_id", "cost_nanos")
        self.overruns = _by(records, "organization_id", "overrun_nanos")
        self.statuses: dict[str, int] = dict(records.values_list("status").annotate(n=Count("pk")))

    def count(self, *, captured: bool) -> int:
        return Hold.objects.using(self.alias).filter(captured=captured).count()

    def orphans(self) -> int:
        """Open holds of dead processes: the sweep's work. None is left after it has run."""
        return orphans(alias=self.alias).count()

    def balances(self) -> Iterator[Breach]:
        """I1: every wallet's balance and credit limit equal the sums of its ledger entries."""
        for number in sorted(self.wallets.keys() | self.ledger.keys()):
            found = self.wallets[number].balance_nanos if number in self.wallets else 0
            if found != self.ledger.get(number, 0):
                yield _breach("I1", f"wallet {number} balance_nanos", self.ledger.get(number, 0), found)
            limit = self.wallets[number].credit_limit_nanos if number in self.wallets else 0
            if limit != self.limits.get(number, 0):
                yield _breach("I1", f"wallet {number} credit_limit_nanos", self.limits.get(number, 0), limit)

    def held(self) -> Iterator[Breach]:
        """I2: its held equals the sum of its holds."""
        for number in sorted(self.wallets.keys() | self.holds.keys()):
            found = self.wallets[number].held_nanos if number in self.wallets else 0
            if found != self.holds.get(number, 0):
                yield _breach("I2", f"wallet {number} held_nanos", self.holds.get(number, 0), found)

    def charges(self) -> Iterator[Breach]:
        """I3: ledger usage + captured holds = recorded costs."""
        for number in sorted(self.usage.keys() | self.captured.keys() | self.costs.keys()):
            charged = self.captured.get(number, 0) - self.usage.get(number, 0)
            if charged != self.costs.get(number, 0):
                yield _breach("I3", f"organization {number} charges", self.costs.get(number, 0), charged)

    def records_and_holds(self) -> Iterator[Breach]:
        """I3: a captured hold has its record at the same cost; an open hold has none."""
        record = UsageRecord.objects.using(self.alias).filter(pk=OuterRef("pk"))
        holds = Hold.objects.using(self.alias)
        same = record.filter(cost_nanos=OuterRef("amount_nanos"))
        for hold in holds.filter(captured=True).exclude(Exists(same))[:SHOWN]:
            yield _breach("I3", f"captured hold {hold.pk}", hold.amount_nanos, "no record at this cost")
        for hold in holds.filter(Exists(record), captured=False)[:SHOWN]:
            yield _breach("I3", f"open hold {hold.pk}", "no record", "a record")
        charged = UsageRecord.objects.using(self.alias).filter(cost_nanos__lt=0)
        for row in charged[:SHOWN]:
            yield _breach("I3", f"record {row.pk} cost_nanos", "not negative", row.cost_nanos)

    def overdrafts(self) -> Iterator[Breach]:
        """I4: nothing is held or spent below −credit, save what overruns, operator debits or credit cuts explain."""
        for number, wallet in sorted(self.wallets.items()):
            balance = wallet.balance_nanos - self.holds.get(number, 0)
            explained = self.overruns.get(number, 0) - self.debits.get(number, 0) - self.limit_cuts.get(number, 0)
            floor = -wallet.credit_limit_nanos - explained
            if balance < floor:
                yield _breach("I4", f"wallet {number} balance_nanos less holds", f">= {floor}", balance)

    def budgets(self) -> Iterator[Breach]:
        """I2 of budgets: what a budget holds equals the open holds that count against it."""
        held: dict[int, int] = defaultdict(int)
        for amount, budget_ids in (
            Hold.objects.using(self.alias).filter(captured=False).values_list("amount_nanos", "budget_ids")
        ):
            for number in budget_ids:
                held[number] += amount
        for budget in Budget.objects.using(self.alias):
            if budget.held_nanos != held[budget.pk]:
                yield _breach("I2", f"budget {budget.pk} held_nanos", held[budget.pk], budget.held_nanos)

    def day_totals(self) -> Iterator[Breach]:
        """Day totals are settled with the ledger: their costs add up to its usage."""
        totals = _by(DayTotal.objects.using(self.alias).order_by(), "organization_id", "cost_nanos")
        for number in sorted(totals.keys() | self.usage.keys()):
            if totals.get(number, 0) != -self.usage.get(number, 0):
                yield _breach(
                    "I3", f"day totals of organization {number}", -self.usage.get(number, 0), totals.get(number, 0)
                )


def _by(rows: Any, key: str, column: str) -> dict[int, int]:
    return {number: int(total or 0) for number, total in rows.values_list(key).annotate(total=Sum(column))}
