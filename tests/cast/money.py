"""Money without a relay: organizations with wallets, the writer's batches on a real connection, and the books."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from django.db import connection, connections

from accounts.models import Organization, User
from billing.models import Budget, Hold, LedgerEntry, UsageRecord, Wallet
from billing.reconciliation import reconcile
from billing.services import add_entry, set_credit_limit, wallet_of
from billing.writing import leases
from billing.writing.batch import Batch
from billing.writing.connections import server_cursor
from billing.writing.items import CaptureItem, Granted, HoldItem, Outcome, RecordItem, Refused
from billing.writing.statements import Dialect, Record

NOON = datetime(2026, 5, 14, 12, tzinfo=UTC)
POSTGRES = connection.vendor == "postgresql"


@contextmanager
def another_connection() -> Iterator[Any]:
    """Django's wrapper of a new connection to the test database, closed when the block ends."""
    wrapper = connections.create_connection("default")
    wrapper.inc_thread_sharing()
    wrapper.ensure_connection()
    try:
        yield wrapper
    finally:
        wrapper.close()


@contextmanager
def new_batch() -> Iterator[Batch]:
    """The writer's batches on a new connection, set up as the writer does it."""
    with another_connection() as wrapper:
        if POSTGRES:
            wrapper.connection.prepare_threshold = 5
            wrapper.connection.cursor_factory = server_cursor()
        yield Batch(wrapper.connection, wrapper.vendor)


def in_threads(*functions: Callable[[], Any]) -> list[Any]:
    """Run functions at the same time, each with Django connections of its own; their results in order."""

    def run(function: Callable[[], Any]) -> Any:
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


def execute(sql: str, *params: object) -> None:
    """One statement past every service: what a tamperer or an accident would do."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


class Bank:
    """Organizations with money, and items of the writer that move it. `acme` is the organization meant by default."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.lease = leases.take()
        self.at = Dialect(connection.vendor).timestamp(NOON)
        self._entries = 0
        self.acme = self.organization(0)

    def organization(self, nanos: int, *, credit: int = 0) -> int:
        """The id of a new organization whose wallet has this much, and may go this far below zero."""
        wallet = wallet_of(organization=Organization.objects.create(name=f"organization {self._entries}"))
        self.credit(nanos, wallet.pk)
        if credit:
            self.limit(credit, wallet.pk)
        return wallet.pk

    @staticmethod
    def organization_of(number: int) -> Organization:
        """The organization of this id."""
        return Organization.objects.get(pk=number)

    def limit(self, nanos: int, number: int | None = None) -> None:
        """Let a wallet go this far below zero."""
        self._entries += 1
        wallet = Wallet.objects.get(pk=number or self.acme)
        actor = User.objects.get_or_create(email="operator@example.com")[0]
        key = f"test:{self._entries}"
        set_credit_limit(wallet=wallet, limit_nanos=nanos, actor=actor, reason="test", idempotency_key=key)

    def credit(self, nanos: int, number: int | None = None) -> None:
        """Give (or, below zero, take) money."""
        self._entries += 1
        if nanos:
            kind = LedgerEntry.Kind.CREDIT if nanos > 0 else LedgerEntry.Kind.DEBIT
            wallet = Wallet.objects.get(pk=number or self.acme)
            add_entry(wallet=wallet, kind=kind, amount_nanos=nanos, idempotency_key=f"test:{self._entries}")

    def budget(self, limit: int, *, number: int | None = None, window: str = "total", **fields: Any) -> int:
        """The id of a new budget of an organization."""
        row = Budget(organization_id=number or self.acme, limit_nanos=limit, window=window, **fields)
        row.save()
        return row.pk

    # Items ---------------------------------------------------------------------------------------------------------

    def hold(self, request: str, want: int, minimum: int | None = None, **fields: Any) -> HoldItem:
        """A hold of `want`; unless `minimum` says otherwise, of nothing less."""
        given: dict[str, Any] = {
            "organization_id": self.acme,
            "lease_id": self.lease,
            "api_key_id": 1,
            "user_id": 1,
            "model": "m",
            "group": "default",
            "endpoint": "chat",
            "created_at": self.at,
            **fields,
        }
        return HoldItem(request_id=request, minimum=want if minimum is None else minimum, want=want, **given)

    def record(self, request: str, cost: int = 0, **fields: Any) -> Record:
        """A record; `units` and `lines` may be Python values."""
        for name in ("units", "lines", "attempts"):
            if name in fields:
                fields[name] = msgspec.Raw(msgspec.json.encode(fields[name]))
        given = {"organization_id": self.acme, "user_id": 1, "api_key_id": 1, "endpoint": "chat", "status": "ok"}
        given |= {"created_at": self.at, "model": "m", "cost_nanos": cost, **fields}
        return Record(request_id=request, **given)

    def capture(
        self, request: str, cost: int, granted: int | None, budget_ids: Sequence[int] = (), **fields: Any
    ) -> CaptureItem:
        """A capture of a request that was granted this much."""
        held = {"held_nanos": granted or 0, "overrun_nanos": max(0, cost - (granted or 0)), "price_id": 1}
        record = self.record(request, cost, **{**held, **fields})
        return CaptureItem(record, granted, tuple(budget_ids))

    def refusal(self, request: str, **fields: Any) -> RecordItem:
        """The record of a request that held nothing."""
        return RecordItem(self.record(request, status="refused", http_status=403, **fields))

    def run(self, *items: HoldItem | CaptureItem | RecordItem, now: datetime = NOON) -> list[Outcome]:
        """One batch."""
        return self.batch.run(items, now=now)

    def spend(self, request: str, cost: int, **fields: Any) -> None:
        """A request from its hold to its capture, held for at exactly its cost."""
        number = fields.get("organization_id", self.acme)
        assert self.run(self.hold(request, cost, organization_id=number)) == [Granted(cost)]
        self.run(self.capture(request, cost, cost, **fields))

    def expire_lease(self, lease: str | None = None) -> None:
        """The process of this lease is dead."""
        leases.give_back(lease or self.lease)

    # What became of it ---------------------------------------------------------------------------------------------

    def wallet(self, number: int | None = None) -> tuple[int, int]:
        """(balance, held)"""
        row = Wallet.objects.get(pk=number or self.acme)
        return row.balance_nanos, row.held_nanos

    @staticmethod
    def spent(budget_id: int) -> tuple[int, int]:
        """(spent, held) of a budget."""
        row = Budget.objects.get(pk=budget_id)
        return row.spent_nanos, row.held_nanos

    @staticmethod
    def holds() -> dict[str, tuple[int, bool]]:
        """Request → (amount, captured)."""
        return {row.pk: (row.amount_nanos, row.captured) for row in Hold.objects.order_by("pk")}

    @staticmethod
    def records() -> dict[str, tuple[str, int, int]]:
        """Request → (status, cost, overrun)."""
        return {r.pk: (r.status, r.cost_nanos, r.overrun_nanos) for r in UsageRecord.objects.order_by("pk")}

    @staticmethod
    def breaches() -> list[dict[str, Any]]:
        """What `reconcile` finds."""
        return list(reconcile()["breaches"])


@pytest.fixture(name="bank")
def bank_fixture(transactional_db: None) -> Iterator[Bank]:
    with new_batch() as batch:
        yield Bank(batch)


__all__ = [
    "NOON",
    "POSTGRES",
    "Bank",
    "Granted",
    "Refused",
    "another_connection",
    "bank_fixture",
    "execute",
    "in_threads",
    "new_batch",
]
