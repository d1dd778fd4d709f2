"""Settlement: captured holds become ledger entries, day totals and balances. Run every second and when nudged.

A hold is deleted once, so its charge reaches the ledger once, however many settlements run at a time.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from billing import books
from billing.models import DayTotal, Hold, LedgerEntry, UsageRecord
from billing.totals import COUNTED, KEYS, READ, sum_by_day

LIMIT = {"postgresql": 1_000, "sqlite": 200}


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
                books.charge(wallet_id, amount, alias=alias)
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
    records = UsageRecord.objects.using(alias).filter(pk__in=list(request_ids)).only(*READ)
    totals = sum_by_day(records)
    table = DayTotal._meta.db_table
    columns = ", ".join(f'"{name}"' for name in (*KEYS, *COUNTED))
    marks = ", ".join(["%s"] * (len(KEYS) + len(COUNTED)))
    added = ", ".join(f'"{name}" = {table}."{name}" + excluded."{name}"' for name in COUNTED)
    with connections[alias].cursor() as cursor:
        for key in sorted(totals):
            cursor.execute(
                f"INSERT INTO {table} ({columns}) VALUES ({marks}) "  # noqa: S608
                f"ON CONFLICT (day, organization_id, model, api_key_id, channel_id) DO UPDATE SET {added}",
                [*key, *(totals[key].get(name, 0) for name in COUNTED)],
            )
