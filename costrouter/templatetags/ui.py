"""`{% load ui %}`: how pages write amounts, counts and times, and the small parts they are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from django import template
from django.conf import settings
from django.forms import BoundField, CheckboxInput
from django.template import Context
from django.template.loader_tags import BLOCK_CONTEXT_KEY
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from costrouter.lib import charts, money
from costrouter.lib.units import UNITS, per_text

register = template.Library()

TONES = ("ok", "warn", "bad", "info", "plain")
# Django's message levels → tone; tone → icon.
LEVEL_TONES = {"success": "ok", "warning": "warn", "error": "bad", "info": "info", "debug": "info"}
TONE_ICONS = {"ok": "ok", "warn": "warning", "bad": "error", "info": "info"}


# Amounts, counts, times


@register.filter
def usd(nanos: int | None) -> str:
    """Nanos as dollars, exactly: 1234500000 → "$1.2345". None: a dash."""
    return "–" if nanos is None else money.usd_text(nanos)


@register.filter
def usd_price(usd: Decimal | None) -> str:
    """A price in dollars, exactly: Decimal("0.0250") → "$0.025", Decimal("1200") → "$1,200.00". None: a dash."""
    if usd is None:
        return "–"
    whole, _point, rest = f"{usd:,f}".partition(".")
    return f"${whole}.{rest.rstrip('0').ljust(2, '0')}"


@register.filter
def plain(number: Decimal | None) -> str:
    """A decimal without zeros at its end: Decimal("0.8000") → "0.8", Decimal("10") → "10". None: a dash."""
    return "–" if number is None else f"{number.normalize():f}"


@register.filter
def per(unit: str) -> str:
    """What one price of a unit pays for: "per million", "each"."""
    return per_text(unit)


@register.filter
def size_short(tokens: int | None) -> str:
    """A number of tokens as people say it: 128000 → "128 k", 65536 → "64 k", 1048576 → "1 M". None: a dash."""
    if tokens is None:
        return "–"
    base = 1024 if tokens % 1000 and tokens % 1024 == 0 else 1000
    for size, unit in ((base * base, " M"), (base, " k")):
        if tokens >= size:
            return f"{tokens / size:.1f}".removesuffix(".0") + unit
    return str(tokens)


@register.filter
def unit_label(unit: str) -> str:
    """What a priced unit is called: "cache_read" → "Cached input tokens"."""
    return UNITS[unit].label


@register.filter
def usd_short(nanos: int | None) -> str:
    """Nanos as dollars, rounded half up: two decimals from a dollar on, four below it, two digits of what is tiny."""
    if nanos is None:
        return "–"
    size, sign = abs(nanos), "-" if nanos < 0 else ""
    if size == 0 or _rounded(size, 100_000) >= money.NANOS_PER_USD:
        return sign + money.usd_text(_rounded(size, 10_000_000))
    if size >= 100_000:
        return f"{sign}${money.nanos_to_usd(_rounded(size, 100_000)):.4f}"
    return sign + money.usd_text(_rounded(size, 10 ** max(0, len(str(size)) - 2)))


def _rounded(nanos: int, step: int) -> int:
    return money.divide_half_up(nanos, step) * step


@register.filter
def count(number: int | None) -> str:
    """1234567 → "1,234,567". None: a dash."""
    return "–" if number is None else f"{number:,}"


@register.filter
def count_short(number: int | None) -> str:
    """1234567 → "1.2 M", for axes and cards."""
    if number is None:
        return "–"
    for size, unit in ((10**12, " T"), (10**9, " G"), (10**6, " M"), (10**4, " k")):
        if number >= size:
            per = 1000 if unit == " k" else size
            return f"{number / per:.1f}".removesuffix(".0") + unit
    return f"{number:,}"


@register.filter
def ms(milliseconds: int | None) -> str:
    """840 → "840 ms", 1240 → "1.24 s", 64000 → "1 min 4 s". None: a dash."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return gettext("%(count)s ms") % {"count": milliseconds}
    if milliseconds < 60_000:
        return gettext("%(count)s s") % {"count": f"{milliseconds / 1000:.2f}".rstrip("0").rstrip(".")}
    minutes, rest = divmod(round(milliseconds / 1000), 60)
    return gettext("%(minutes)s min %(seconds)s s") % {"minutes": minutes, "seconds": rest}


@register.filter
def percent(share: float | None) -> str:
    """0.9912 → "99.12%"; None: a dash. Only all is 100%, only nothing is 0%."""
    if share is None:
        return "–"
    text = f"{share * 100:.2f}".rstrip("0").rstrip(".")
    if text == "100" and share < 1:
        return "> 99.99%"
    if text == "0" and share > 0:
        return "< 0.01%"
    return f"{text}%"


@register.filter
def ago(at: datetime | None) -> str:
    """In the largest unit: "just now", "3 min ago", "2 days ago"; of the future "in 3 min". None: "never"."""
    if at is None:
        return gettext("never")
    seconds = int((timezone.now() - at).total_seconds())
    size = abs(seconds)
    if size < 60:
        return gettext("just now") if seconds >= 0 else gettext("in less than a minute")
    if size < 3600:
        span = gettext("%(count)s min") % {"count": size // 60}
    elif size < 86_400:
        span = gettext("%(count)s h") % {"count": size // 3600}
    else:
        days = size // 86_400
        span = ngettext("%(count)s day", "%(count)s days", days) % {"count": days}
    return (gettext("%(span)s ago") if seconds >= 0 else gettext("in %(span)s")) % {"span": span}


@register.simple_tag
def when(at: datetime | None, style: str = "minutes") -> str:
    """A time in UTC: `{% when at %}`, to the second with "seconds", as "3 min ago" with "ago". None: a dash."""
    if at is None:
        return "–"
    at = at.astimezone(UTC)
    exact = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    text = {"minutes": f"{at:%Y-%m-%d %H:%M}", "seconds": exact.removesuffix(" UTC"), "ago": ago(at)}[style]
    return format_html('<time datetime="{}" title="{}">{}</time>', f"{at:%Y-%m-%dT%H:%M:%SZ}", exact, text)


# Small parts


@cache
def icon_names() -> frozenset[str]:
    """The symbols of our sprite."""
    return frozenset(re.findall(r'<symbol id="([a-z-]+)"', (settings.BASE_DIR / "static/img/icons.svg").read_text()))


@register.simple_tag
def icon(name: str, label: str = "") -> str:
    """A symbol of `static/img/icons.svg`; decoration unless it has a `label`. Raises for a name that is not there."""
    if name not in icon_names():
        raise template.TemplateSyntaxError(f"static/img/icons.svg has no symbol {name!r}")
    href = f"{static('img/icons.svg')}#{name}"
    if label:
        return format_html('<svg class="icon" role="img" aria-label="{}"><use href="{}"></use></svg>', label, href)
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"></use></svg>', href)


# Category of `relay.endpoints` → icon.
CATEGORY_ICONS = {
    "Chat": "chat",
    "Anthropic": "text",
    "Gemini": "code",
    "Embeddings, rerank, moderation": "embed",
    "Images": "image",
    "Audio": "audio",
    "Video": "video",
    "Models and realtime": "live",
    "Account": "wallet",
}


@register.simple_tag
def category_icon(category: str, label: str = "") -> str:
    """The icon of a category of endpoints."""
    return icon(CATEGORY_ICONS[category], label)


@register.simple_tag
def badge(text: Any, tone: str = "plain") -> str:
    """A small word with a meaning: tone "ok", "warn", "bad", "info" or "plain"."""
    if tone not in TONES:
        raise template.TemplateSyntaxError(f"a badge's tone is one of {', '.join(TONES)}, not {tone!r}")
    return format_html('<span class="badge badge-{}">{}</span>', tone, text)


@register.simple_tag
def copy(text: Any, label: str = "") -> str:
    """A button that copies `text`; only there with scripts. `label`: what it is called, "Copy" unless told."""
    label = label or gettext("Copy")
    return format_html(
        '<button type="button" class="btn btn-quiet btn-small js-only copy" data-copy="{}" data-label="{}" '
        'data-done="{}">{}{}<span data-copy-said aria-live="polite">{}</span></button>',
        text,
        label,
        gettext("Copied"),
        icon("copy"),
        icon("check"),
        label,
    )


@register.inclusion_tag("parts/field.html", name="field")
def field_(field: BoundField) -> dict[str, Any]:
    """A form's field with its label, help and errors."""
    return {"field": field, "is_checkbox": isinstance(field.field.widget, CheckboxInput)}


@register.filter
def tone(level_tag: str) -> str:
    """The tone of a message of Django's."""
    return LEVEL_TONES.get(level_tag, "info")


@register.filter
def tone_icon(level_tag: str) -> str:
    return TONE_ICONS[tone(level_tag)]


@register.simple_tag(takes_context=True)
def block_text(context: Context, name: str) -> SafeString:
    """The content of a block of the page, in another place too: its title is in <title> and in its heading."""
    blocks = context.render_context.get(BLOCK_CONTEXT_KEY)
    block = blocks.get_block(name) if blocks else None
    return SafeString(block.nodelist.render(context).strip()) if block else SafeString("")


# Charts

Write = Callable[[int], str]
# What a chart's numbers are → how they are written exactly, in a list, at an axis.
FORMATS: dict[str, tuple[Write, Write, Write]] = {
    "usd": (usd, usd_short, usd),
    "count": (count, count_short, count_short),
    "ms": (ms, ms, ms),
}


def axis_label(label: Any) -> str:
    """Days are "Nov 3"; everything else is its text."""
    return f"{label:%b} {label.day}" if isinstance(label, date) else str(label)


@register.inclusion_tag("parts/bars.html")
def bars(
    rows: Sequence[tuple[Any, Any]],
    title: Any = "",
    unit: str = "count",
    series: Sequence[Any] = (),
    heading: Any = "",
) -> dict[str, Any]:
    """A bar chart with a table of the same data.

    `rows`: (label, value) or (label, [a value a series]), values whole and ≥ 0; a label may be a date. `unit`: "usd"
    (nanos), "count" or "ms". `series`: names, for stacked bars. `heading`: what the labels are, days unless told.
    """
    write, _write_short, write_tick = FORMATS[unit]
    names = [str(name) for name in series] or [str(title) or gettext("Value")]
    chart = charts.bar_chart(
        [(axis_label(label), values if isinstance(values, (list, tuple)) else [values]) for label, values in rows],
        series=names,
        write=write,
        write_tick=write_tick,
        title=str(title),
        heading=str(heading or gettext("Day")),
    )
    return {"chart": chart}


@register.inclusion_tag("parts/ranks.html")
def ranks(rows: Sequence[tuple[Any, ...]], title: Any = "", unit: str = "count", heading: Any = "") -> dict[str, Any]:
    """A list by size, each row with a bar: (label, value) or (label, value, href). `unit` as for `bars`."""
    write, write_short, _write_tick = FORMATS[unit]
    return {
        "rows": charts.ranks(rows, write=write, write_short=write_short),
        "title": title,
        "heading": heading or gettext("Name"),
    }
