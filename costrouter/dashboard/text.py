"""How the overview writes amounts, shares and changes, and what a card is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from costrouter.lib.money import NANOS_PER_USD, divide_half_up, usd_text


@dataclass(frozen=True, slots=True)
class Card:
    """A figure: `value` for a glance, `exact` as a title; `tone`: bad, warn, good or nothing; `detail` below."""

    title: str
    value: str
    detail: str
    url: str
    exact: str = ""
    tone: str = ""
    note: str = ""


def short(nanos: int) -> str:
    """Dollars to the cent for a glance; below a cent to four decimals. The exact amount stands beside it."""
    step = NANOS_PER_USD // (100 if abs(nanos) >= NANOS_PER_USD // 100 else 10_000)
    rounded = divide_half_up(abs(nanos), step) * step
    return usd_text(rounded if nanos >= 0 else -rounded)


def share(part: int, whole: int) -> str:
    """A part in per cent, to one decimal; a dash of nothing."""
    return f"{part * 100 / whole:.1f}%" if whole else "—"


def change(now: float, before: float) -> str:
    """How much more or less than before, in words; empty where there was nothing, or less than nothing."""
    if before <= 0:
        return ""
    percent = (now - before) * 100 / before
    if abs(percent) < 0.05:
        return _("unchanged")
    if abs(percent) >= 1_000:
        return _("over ten times as much") if percent > 0 else _("far less")
    return (
        _("up %(percent)s") % {"percent": f"{percent:.1f}%"}
        if percent > 0
        else _("down %(percent)s") % {"percent": f"{-percent:.1f}%"}
    )


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago, for a glance; a dash for never."""
    if moment is None:
        return "—"
    seconds = max(0, int((now - moment).total_seconds()))
    if seconds < 120:
        return _("%(seconds)s s ago") % {"seconds": seconds}
    return _("%(span)s ago") % {"span": timesince(moment, now, depth=1)}
