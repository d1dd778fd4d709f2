"""Day totals: sums of records by UTC day. Settlement adds to them; here they are made anew, and proven.

Both sum with `sum_by_day`, so what is stored equals what the records say, to the unit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Exists, OuterRef

from billing.models import DayTotal, Hold, UsageRecord
from billing.reconciliation import SHOWN, snapshot
from costrouter.lib.units import UNITS

READ = (
    *("created_at", "organization_id", "model", "api_key_id", "channel_id"),
    *("status", "attempts", "price_id", "units", "cost_nanos", "upstream_cost_nanos", "held_nanos", "overrun_nanos"),
    "first_byte_ms",
)
KEYS = ("day", "organization_id", "model", "api_key_id", "channel_id")
COUNTED = (
    *("requests", "failures", "cost_nanos", "upstream_cost_nanos", "overrun_nanos", "overruns"),
    *("first_byte_ms", "timed", *UNITS),
)
# (day, organization, model, key, channel) → counted column → sum.
Sums = dict[tuple[Any, ...], dict[str, int]]


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
        totals = from_records(alias=alias)
        DayTotal.objects.using(alias).all().delete()
        rows = [
            DayTotal(
                **dict(zip(KEYS, key, strict=True)),
                **{name: total.get(name, 0) for name in COUNTED},
            )
            for key, total in sorted(totals.items())
        ]
        DayTotal.objects.using(alias).bulk_create(rows, batch_size=500)
    return len(rows)


def from_records(*, alias: str) -> Sums:
    """Day totals as the records of everything that is settled have them, read once; memory is that of the totals."""
    unsettled = Hold.objects.using(alias).filter(pk=OuterRef("pk"), captured=True)
    records = UsageRecord.objects.using(alias).exclude(Exists(unsettled)).order_by().only(*READ)
    return sum_by_day(records.iterator(chunk_size=2_000))


def differences(*, alias: str = DEFAULT_DB_ALIAS) -> tuple[int, list[dict[str, Any]]]:
    """How many stored totals differ from the records, and the first of them; read in one snapshot, without writing.

    A difference: the key's columns, `stored` and `records`: counted column → value, of those that differ.
    """
    found: list[dict[str, Any]] = []
    count = 0
    with snapshot(alias):
        totals = from_records(alias=alias)
        rows = DayTotal.objects.using(alias).order_by().values_list(*KEYS, *COUNTED)
        for row in rows.iterator(chunk_size=2_000):
            key = (row[0].isoformat(), *row[1 : len(KEYS)])
            stored = dict(zip(COUNTED, row[len(KEYS) :], strict=True))
            count += _compare(key, stored, totals.pop(key, {}), found)
        for key, total in totals.items():
            count += _compare(key, {}, total, found)
    return count, found


def _compare(key: tuple[Any, ...], stored: Mapping[str, int], total: Mapping[str, int], found: list[Any]) -> bool:
    """Whether they differ; the first ones are added to `found`."""
    unlike = [name for name in COUNTED if stored.get(name, 0) != total.get(name, 0)]
    if unlike and len(found) < SHOWN:
        found.append(
            {
                **dict(zip(KEYS, key, strict=True)),
                "stored": {name: stored.get(name, 0) for name in unlike},
                "records": {name: total.get(name, 0) for name in unlike},
            }
        )
    return bool(unlike)


def _counts(record: UsageRecord) -> bool:
    """Whether a record is part of a day's total. It says so itself, so that totals can be made anew.

    What was priced went on to ask for a hold: only that is settled. So neither refusals before it, nor what is free
    (a count of tokens), nor what a sweep recorded count; the last has its price once its capture comes after all. Left
    out too is what was given up while nothing was held and no channel tried.
    """
    if record.price_id is None:
        return False
    status = UsageRecord.Status
    if record.status in (status.REFUSED, status.CANCELLED):
        return bool(record.held_nanos or record.cost_nanos or record.attempts)
    return record.status != status.INTERRUPTED


def sum_by_day(records: Iterable[UsageRecord]) -> Sums:
    """Day totals of those records that count: (day, organization, model, key, channel) → counted column → sum."""
    totals: Sums = defaultdict(lambda: defaultdict(int))
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
