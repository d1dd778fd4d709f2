"""Settlement: captured holds become ledger entries, day totals and balances. Run every second and when nudged.

A hold is deleted once, so its charge reaches the ledger once, however many settlements run at a time.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Exists, F, OuterRef

from billing.models import DayTotal, Hold, LedgerEntry, UsageRecord, Wallet
from costrouter.lib.units import UNITS

LIMIT = {"postgresql": 1_000, "sqlite": 200}
_READ = (
    *("created_at", "organization_id", "model", "api_key_id", "channel_id"),
    *("status", "attempts", "units", "cost_nanos", "upstream_cost_nanos", "held_nanos", "overrun_nanos"),
    "first_byte_ms",
)
_KEYS = ("day", "organization_id", "model", "api_key_id", "channel_id")
_COUNTED = (
    *("requests", "failures", "cost_nanos", "upstream_cost_nanos", "overrun_nanos", "overruns"),
    *("first_byte_ms", "timed", *UNITS),
)


def settle(*, alias: str = DEFAULT_DB_ALIAS, most: int = 1_000_000) -> int:
    """Settle every charge that is waiting, a bounded number a transaction. Returns how many."""
    settled = 0
    limit = LIMIT[connections[alias].vendor]
    while settled < most:
        count = _settle_once(alias=alias, limit=limit)
        settled += count
        if count < limit:
            break
    return settled


def _settle_once(*, alias: str, limit: int) -> int:
    if not Hold.objects.using(alias).filter(captured=True).exists():
        return 0  # most seconds of most days: no transaction, no write lock
    with transaction.atomic(using=alias):
        charges = _take(alias=alias, limit=limit)
        if not charges:
            return 0
        by_wallet: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for request_id, wallet_id, amount in charges:
            by_wallet[wallet_id].append((request_id, amount))
        _write_entries(by_wallet, alias=alias)
        _add_day_totals([request_id for request_id, _, _ in charges], alias=alias)
        for wallet_id in sorted(by_wallet):
            amount = sum(nanos for _, nanos in by_wallet[wallet_id])
            if amount:
                Wallet.objects.using(alias).filter(pk=wallet_id).update(
                    balance_nanos=F("balance_nanos") - amount, held_nanos=F("held_nanos") - amount
                )
    return len(charges)


def _take(*, alias: str, limit: int) -> list[tuple[str, int, int]]:
    """Delete captured holds, passing over those that another settlement is taking: (request id, wallet, nanos)."""
    connection = connections[alias]
    skip = " FOR UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM billing_hold WHERE request_id IN (SELECT request_id FROM billing_hold "  # noqa: S608
            f"WHERE captured ORDER BY request_id LIMIT %s{skip}) RETURNING request_id, wallet_id, amount_nanos",
            [limit],
        )
        return list(cursor.fetchall())


def _write_entries(by_wallet: dict[int, list[tuple[str, int]]], *, alias: str) -> None:
    entries = []
    for wallet_id, charges in sorted(by_wallet.items()):
        total = sum(nanos for _, nanos in charges)
        if total:
            digest = hashlib.sha256("\n".join(sorted(request_id for request_id, _ in charges)).encode()).hexdigest()
            entries.append(
                LedgerEntry(
                    wallet_id=wallet_id,
                    kind=LedgerEntry.Kind.USAGE,
                    amount_nanos=-total,
                    requests=len(charges),
                    idempotency_key=f"usage:{digest}",
                )
            )
    LedgerEntry.objects.using(alias).bulk_create(entries)


def _add_day_totals(request_ids: Sequence[str], *, alias: str) -> None:
    records = UsageRecord.objects.using(alias).filter(pk__in=list(request_ids)).only(*_READ)
    totals = sum_by_day(records)
    table = DayTotal._meta.db_table
    columns = ", ".join(f'"{name}"' for name in (*_KEYS, *_COUNTED))
    marks = ", ".join(["%s"] * (len(_KEYS) + len(_COUNTED)))
    added = ", ".join(f'"{name}" = {table}."{name}" + excluded."{name}"' for name in _COUNTED)
    with connections[alias].cursor() as cursor:
        for key in sorted(totals):
            cursor.execute(
                f"INSERT INTO {table} ({columns}) VALUES ({marks}) "  # noqa: S608
                f"ON CONFLICT (day, organization_id, model, api_key_id, channel_id) DO UPDATE SET {added}",
                [*key, *(totals[key].get(name, 0) for name in _COUNTED)],
            )


def rebuild_totals(*, alias: str = DEFAULT_DB_ALIAS) -> int:
    """Make the day totals anew from the records, in one transaction. Returns how many there are.

    Settlements wait meanwhile, on SQLite every writer. A charge that is not settled yet is left to its settlement.
    """
    connection = connections[alias]
    with transaction.atomic(using=alias):
        if connection.vendor == "postgresql":
            # A settlement has deleted its holds before it adds to the totals: until it commits, they are seen below.
            with connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {DayTotal._meta.db_table} IN EXCLUSIVE MODE")
        unsettled = Hold.objects.using(alias).filter(pk=OuterRef("pk"), captured=True)
        records = UsageRecord.objects.using(alias).exclude(Exists(unsettled)).order_by().only(*_READ)
        totals = sum_by_day(records.iterator(chunk_size=2_000))
        DayTotal.objects.using(alias).all().delete()
        rows = [
            DayTotal(
                **dict(zip(_KEYS, key, strict=True)),
                **{name: total.get(name, 0) for name in _COUNTED},
            )
            for key, total in sorted(totals.items())
        ]
        DayTotal.objects.using(alias).bulk_create(rows, batch_size=500)
    return len(rows)


def _counts(record: UsageRecord) -> bool:
    """Whether a record is part of a day's total. It says so itself, so that totals can be made anew.

    Left out is what was refused or given up while nothing was held and no channel tried, and what a sweep recorded,
    until its capture comes after all.
    """
    status = UsageRecord.Status
    if record.status in (status.REFUSED, status.CANCELLED):
        return bool(record.held_nanos or record.cost_nanos or record.attempts)
    return record.status != status.INTERRUPTED


def sum_by_day(records: Iterable[UsageRecord]) -> dict[tuple[Any, ...], dict[str, int]]:
    """Day totals of those records that count: (day, organization, model, key, channel) → counted column → sum."""
    totals: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for record in records:
        if not _counts(record):
            continue
        key = (
            record.created_at.astimezone(UTC).date().isoformat(),
            record.organization_id,
            record.model,
            record.api_key_id or 0,
            record.channel_id or 0,
        )
        total = totals[key]
        total["requests"] += 1
        total["failures"] += record.status in (UsageRecord.Status.UPSTREAM_ERROR, UsageRecord.Status.REFUSED)
        total["cost_nanos"] += record.cost_nanos
        total["upstream_cost_nanos"] += record.upstream_cost_nanos
        total["overrun_nanos"] += record.overrun_nanos
        total["overruns"] += record.overrun_nanos > 0
        if record.first_byte_ms is not None:
            total["first_byte_ms"] += record.first_byte_ms
            total["timed"] += 1
        for name, quantity in record.units.items():
            total[name] += quantity
    return totals
