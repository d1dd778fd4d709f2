"""How channels do: attempts of the last hours, failures in a row, the last reason, and the operator's last test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, Sum
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from channels_app.models import Channel, ChannelHealth, ChannelHour
from costrouter.admin.base import page_url
from costrouter.dashboard.text import ago, share

SHOWN = 20
# So many failures in a row are no coincidence.
FAILING = 3


@dataclass(frozen=True, slots=True)
class Row:
    """A channel and what it did. `hour`, `day`: (attempts, failures) since the hour before this one, in 24 hours."""

    channel: Channel
    health: ChannelHealth
    hour: tuple[int, int] = (0, 0)
    day: tuple[int, int] = (0, 0)
    milliseconds: int = 0

    @property
    def enabled(self) -> bool:
        """Whether requests go to it."""
        return self.channel.status == Channel.Status.ENABLED

    @property
    def failing(self) -> bool:
        """Whether it is enabled and has lately done nothing but fail."""
        return self.enabled and self.health.failures_in_row >= FAILING


def this_hour() -> datetime:
    """When the current hour began (UTC)."""
    return timezone.now().replace(minute=0, second=0, microsecond=0)


def load() -> list[Row]:
    """Every channel, those that want a look first: failing, then by failures of 24 hours, then by name. Two queries."""
    start = this_hour() - timedelta(hours=1)
    lately = Q(hour__gte=start)
    sums = {
        row["channel_id"]: row
        for row in ChannelHour.objects.filter(hour__gte=start - timedelta(hours=22))
        .order_by()
        .values("channel_id")
        .annotate(
            a=Sum("attempts", default=0),
            f=Sum("failures", default=0),
            ms=Sum("milliseconds", default=0),
            ha=Sum("attempts", filter=lately, default=0),
            hf=Sum("failures", filter=lately, default=0),
        )
    }
    rows = []
    for channel in Channel.objects.select_related("health").defer("credentials_encrypted"):
        health = getattr(channel, "health", None) or ChannelHealth(channel_id=channel.pk)
        found = sums.get(channel.pk)
        if found is None:
            rows.append(Row(channel, health))
        else:
            numbers = {name: int(found[name]) for name in ("a", "f", "ms", "ha", "hf")}
            hour, day = (numbers["ha"], numbers["hf"]), (numbers["a"], numbers["f"])
            rows.append(Row(channel, health, hour, day, numbers["ms"]))
    return sorted(rows, key=lambda row: (not row.failing, not row.enabled, -row.day[1], row.channel.name))


def names(rows: list[Row]) -> dict[int, str]:
    """The name of every channel; asked for where the rows were not loaded."""
    if rows:
        return {row.channel.pk: row.channel.name for row in rows}
    return dict(Channel.objects.values_list("pk", "name"))


def table(rows: list[Row]) -> dict[str, Any]:
    """What the page shows of them."""
    now = timezone.now()
    return {
        "since": f"{this_hour() - timedelta(hours=1):%H:%M}",
        "rows": [_shown(row, now) for row in rows[:SHOWN]],
        "more": max(0, len(rows) - SHOWN),
        "url": page_url("channels_app.channel", "changelist"),
    }


def _shown(row: Row, now: datetime) -> dict[str, Any]:
    channel, health = row.channel, row.health
    answered = row.day[0] - row.day[1]
    last = health.recent[0] if health.recent else None
    at = parse_datetime(last["at"]) if last else None
    return {
        "name": channel.name,
        "url": page_url("channels_app.channel", "change", channel.pk),
        "test_url": page_url("channels_app.channel", "test", channel.pk),
        "records": page_url("billing.usagerecord", "changelist", channel_id=channel.pk, period=1),
        "enabled": row.enabled,
        "failing": row.failing,
        "attempts": f"{row.day[0]:,}",
        "hour": share(row.hour[1], row.hour[0]),
        "hour_exact": _("%(failed)s of %(all)s") % {"failed": f"{row.hour[1]:,}", "all": f"{row.hour[0]:,}"},
        "hour_bad": row.hour[1] * 10 >= row.hour[0] > 0,
        "day": share(row.day[1], row.day[0]),
        "day_exact": _("%(failed)s of %(all)s") % {"failed": f"{row.day[1]:,}", "all": f"{row.day[0]:,}"},
        "day_bad": row.day[1] * 10 >= row.day[0] > 0,
        "average": f"{row.milliseconds // answered:,} ms" if answered > 0 else "—",
        "in_row": f"{health.failures_in_row:,}",
        "reason": last["outcome"] if last else "",
        "reason_model": last["model"] if last else "",
        "reason_ago": ago(at, now),
        "reason_at": f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "",
        "test_ok": health.last_test_ok,
        "test_ago": ago(health.last_test_at, now),
        "test_detail": health.last_test_detail,
    }
