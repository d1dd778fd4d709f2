"""Usage for people: what a request took and gave, in few words, and unit by unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.pricing.rates import INPUT_UNITS
from costrouter.lib.units import UNITS
from costrouter.templatetags.ui import count_short

OUTPUT_UNITS = ("output", "audio_out", "image_out")
_CACHE_WRITES = ("cache_write_5m", "cache_write_1h")


@dataclass(frozen=True, slots=True)
class UsageText:
    """`main`: "1,200 → 350"; `detail`: what of it is special, "37.9 k cached · 90 reasoning"; `every`: all units."""

    main: str
    detail: str
    every: tuple[tuple[str, int], ...]


def usage_text(units: Mapping[str, int]) -> UsageText:
    """A record's units in words. `main` is empty where nothing was counted."""
    taken = sum(units.get(name, 0) for name in INPUT_UNITS)
    given = sum(units.get(name, 0) for name in OUTPUT_UNITS)
    pieces = []
    if taken or given:
        pieces.append(f"{taken:,} → {given:,}" if given else _("%(count)s in") % {"count": f"{taken:,}"})
    if images := units.get("images", 0):
        pieces.append(ngettext("%(count)s image", "%(count)s images", images) % {"count": f"{images:,}"})
    if searches := units.get("searches", 0):
        pieces.append(ngettext("%(count)s search", "%(count)s searches", searches) % {"count": f"{searches:,}"})
    if seconds := units.get("seconds", 0):
        pieces.append(_("%(count)s s") % {"count": f"{seconds:,}"})
    if characters := units.get("characters", 0):
        pieces.append(_("%(count)s characters") % {"count": f"{characters:,}"})
    if (calls := units.get("calls", 0)) and not pieces:
        pieces.append(ngettext("%(count)s call", "%(count)s calls", calls) % {"count": f"{calls:,}"})
    special = (
        (units.get("cache_read", 0), _("%(count)s cached")),
        (sum(units.get(name, 0) for name in _CACHE_WRITES), _("%(count)s written to cache")),
        (units.get("reasoning", 0), _("%(count)s reasoning")),
        (units.get("audio_in", 0) + units.get("audio_out", 0), _("%(count)s audio")),
        (units.get("image_in", 0) + units.get("image_out", 0), _("%(count)s image")),
    )
    return UsageText(
        main=" · ".join(pieces),
        detail=" · ".join(text % {"count": count_short(count)} for count, text in special if count),
        every=tuple((UNITS[name].label, units[name]) for name in UNITS if units.get(name)),
    )
