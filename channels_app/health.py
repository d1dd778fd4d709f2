"""How channels do: what their attempts came to is summed up in memory, and added to the tables now and then.

A failure is what the operator must mind: no connection, no answer in time, a 5xx, an answer that cannot be read, a
stream that was cut, and what an upstream holds against the operator (credentials, balance, its rate limit, a model it
does not have). Never a failure: what an upstream holds against the client's request, and a client that went away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, NamedTuple

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.module_loading import import_string

from channels_app.models import Channel, ChannelHealth, ChannelHour

MOST_RECENT = 10
KEEP = timedelta(days=30)
# While the database is away, a channel's hours are kept in memory up to here; what is older is forgotten.
MOST_HOURS = 48
_LONGEST = 100
TESTS_AT_ONCE = 8


class Verdict(IntEnum):
    """What an attempt says of its channel. `REFUSED`: it answered, and held the request against the client."""

    OK = 0
    REFUSED = 1
    FAILED = 2


class Outcome(NamedTuple):
    """One attempt. `outcome` holds no secret and nothing an upstream said; `at` is Unix time in seconds, its end."""

    channel_id: int
    model: str
    verdict: Verdict
    outcome: str
    milliseconds: int
    at: float


@dataclass(slots=True)
class Tally:
    """What a channel's attempts came to. `hours`: hour since 1970 → [attempts, failures, milliseconds]."""

    hours: dict[int, list[int]] = field(default_factory=dict)
    last_ok: float = 0.0
    last_failure: float = 0.0
    failures_in_row: int = 0
    recent: list[dict[str, str]] = field(default_factory=list)

    def add(self, heard: Outcome) -> None:
        """Count one attempt."""
        hour = self.hours.setdefault(int(heard.at) // 3600, [0, 0, 0])
        hour[0] += 1
        if heard.verdict is Verdict.FAILED:
            hour[1] += 1
            self.last_failure = max(self.last_failure, heard.at)
            self.failures_in_row += 1
            at = datetime.fromtimestamp(heard.at, UTC).isoformat(timespec="milliseconds")
            found = {"at": at, "outcome": heard.outcome[:_LONGEST], "model": heard.model[:_LONGEST]}
            self.recent = [found, *self.recent][:MOST_RECENT]
            return
        hour[2] += max(0, heard.milliseconds)
        if heard.verdict is Verdict.OK:
            self.last_ok = max(self.last_ok, heard.at)
            self.failures_in_row = 0

    def forget_old(self) -> None:
        """Keep the latest hours only."""
        for hour in sorted(self.hours)[:-MOST_HOURS]:
            del self.hours[hour]


def record_outcomes(*, tallies: Mapping[int, Tally], using: str = DEFAULT_DB_ALIAS) -> None:
    """Add what was heard of channels to the tables, in one transaction. Channels that are gone are skipped.

    Many processes may do so at once: rows are locked in the order of their keys.
    """
    if not tallies:
        return
    with transaction.atomic(using=using):
        ids = sorted(Channel.objects.using(using).filter(pk__in=tallies).values_list("pk", flat=True))
        _merge_health(ids, tallies, using)
        for channel_id in ids:
            for hour, (attempts, failures, milliseconds) in sorted(tallies[channel_id].hours.items()):
                rows = ChannelHour.objects.using(using)
                row, _ = rows.get_or_create(channel_id=channel_id, hour=datetime.fromtimestamp(hour * 3600, UTC))
                rows.filter(pk=row.pk).update(
                    attempts=F("attempts") + attempts,
                    failures=F("failures") + failures,
                    milliseconds=F("milliseconds") + milliseconds,
                )


def _merge_health(ids: Iterable[int], tallies: Mapping[int, Tally], using: str) -> None:
    ids = list(ids)
    rows = ChannelHealth.objects.using(using)
    there = set(rows.filter(pk__in=ids).values_list("pk", flat=True))
    rows.bulk_create([ChannelHealth(channel_id=pk) for pk in ids if pk not in there], ignore_conflicts=True)
    merged = list(rows.select_for_update().filter(pk__in=ids).order_by("pk"))
    for row in merged:
        tally = tallies[row.pk]
        ok, failure = _moment(tally.last_ok), _moment(tally.last_failure)
        row.failures_in_row = tally.failures_in_row + (0 if ok else row.failures_in_row)
        row.last_ok_at = max(filter(None, (row.last_ok_at, ok)), default=None)
        row.last_failure_at = max(filter(None, (row.last_failure_at, failure)), default=None)
        row.recent = sorted([*tally.recent, *row.recent], key=lambda found: found["at"], reverse=True)[:MOST_RECENT]
    rows.bulk_update(merged, ["failures_in_row", "last_ok_at", "last_failure_at", "recent"])


def _moment(at: float) -> datetime | None:
    return datetime.fromtimestamp(at, UTC) if at else None


def prune_hours() -> int:
    """Forget hours older than 30 days. Returns how many."""
    return ChannelHour.objects.filter(hour__lt=timezone.now() - KEEP).delete()[0]


def check_channel(*, channel: Channel, model: str = "") -> Any:
    """Send a channel one real request (`relay.routing.probe.ProbeResult`), and note what came of it with its health."""
    result = import_string(settings.CHANNEL_PROBE)(channel=channel, model=model)
    said = result.message if result.ok or result.status is None else f"status {result.status}: {result.message}"
    about = f"{result.model}: " if result.model else ""
    # PostgreSQL has no NUL.
    detail = f"{about}{said}".replace("\0", "")[:300]
    values = {"last_test_at": timezone.now(), "last_test_ok": result.ok, "last_test_detail": detail}
    if Channel.objects.filter(pk=channel.pk).exists():
        ChannelHealth.objects.update_or_create(channel_id=channel.pk, defaults=values)
    return result


def check_channels(*, channels: Iterable[Channel]) -> list[tuple[Channel, Any]]:
    """Test many channels, a few at a time, each with its first model. What goes wrong with one is its result."""
    found = list(channels)
    if not found:
        return []
    with ThreadPoolExecutor(min(TESTS_AT_ONCE, len(found)), thread_name_prefix="test") as threads:
        return list(zip(found, threads.map(_tested, found), strict=True))


def _tested(channel: Channel) -> Any:
    try:
        return check_channel(channel=channel)
    finally:
        connections.close_all()
