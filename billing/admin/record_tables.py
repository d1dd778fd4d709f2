"""A record's JSON columns as tables that people can read, whatever they hold."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.pricing.rates import INPUT_UNITS
from costrouter.admin.base import link, number, page_url, table
from costrouter.lib.units import UNITS, per_text


def units_text(units: Any, *, every: bool = False) -> SafeString | str:
    """ "1,200 → 350", or every unit as a chip."""
    if not isinstance(units, dict) or not units:
        return "—"
    if every:
        chips = format_html_join(
            "",
            '<span class="cr-chip">{} <b class="cr-num">{}</b></span>',
            ((_label(n), _count(q)) for n, q in units.items()),
        )
        return format_html('<span class="cr-chips">{}</span>', chips)
    taken = sum(q for n, q in units.items() if n in INPUT_UNITS and isinstance(q, int))
    given = sum(units.get(n, 0) for n in ("output", "audio_out", "image_out"))
    return f"{taken:,} → {given:,}"


def lines_table(lines: Any) -> SafeString | str:
    """Unit, quantity, price, amount."""
    if not isinstance(lines, list) or not lines:
        return "Nothing was charged."
    rows: list[list[object]] = []
    for line in lines:
        if not isinstance(line, dict):
            continue
        name, per = str(line.get("unit", "")), line.get("per")
        price = f"${line.get('price')} {per_text(name)}" if name in UNITS else f"${line.get('price')} per {per}"
        rows.append([_label(name), number(_count(line.get("quantity"))), number(price), number(_amount(line))])
    return table(["Unit", "Quantity", "Price", "Amount"], rows, (1, 2, 3))


def attempts_table(attempts: Any) -> SafeString | str:
    """Each channel that was tried, in order."""
    if not isinstance(attempts, list) or not attempts:
        return "Nothing was sent upstream."
    rows: list[list[object]] = []
    for attempt in attempts:
        if not isinstance(attempt, dict):
            continue
        channel_id, taken = attempt.get("channel"), attempt.get("ms")
        name = attempt.get("name") or f"#{channel_id}"
        rows.append(
            [
                link(page_url("channels_app.channel", "change", channel_id), name) if channel_id else name,
                attempt.get("outcome") or "—",
                number(f"{taken:,} ms" if isinstance(taken, int) else "—"),
            ]
        )
    return table(["Channel", "Outcome", "Took"], rows, (2,))


def _label(unit: str) -> str:
    return UNITS[unit].label if unit in UNITS else unit


def _count(quantity: Any) -> str:
    return f"{quantity:,}" if isinstance(quantity, int) else str(quantity)


def _amount(line: dict[str, Any]) -> str:
    try:
        amount = Decimal(str(line["quantity"])) * Decimal(str(line["price"])) / Decimal(str(line["per"]))
    except (KeyError, InvalidOperation, ZeroDivisionError):
        return "—"
    return f"${amount:.9f}".rstrip("0").rstrip(".")
