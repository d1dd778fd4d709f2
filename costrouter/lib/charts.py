"""Bar charts as numbers: where each bar, tick and label of a server-rendered SVG is. No Django, no drawing.

The SVG has no viewBox: widths are per cent and heights pixels, so that text keeps its size on a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

HEIGHT = 220
TOP = 14
BELOW = 26  # for the labels
BASE = HEIGHT - BELOW
FEWEST_SLOTS = 7  # a chart of one day is not one wide bar
MOST_LABELS = 6
MOST_SERIES = 8  # colours `.series-1` to `.series-8`
BAR_SHARE = Decimal("0.72")  # of its slot

Write = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar: of series 1 to MOST_SERIES; `top`: the uppermost of its bar."""

    series: int
    y: str
    height: str
    top: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: positions in per cent of the width; `label` is empty where it would crowd the axis, `minor` on a phone."""

    slot_x: str
    slot_width: str
    x: str
    width: str
    middle: str
    anchor: str
    label: str
    minor: bool
    said: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    y: int
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What `templates/parts/bars.html` draws. `rows` are the same data for its table: label → texts."""

    title: str
    heading: str
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    axis_width: int
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    columns: tuple[str, ...]
    legend: tuple[tuple[int, str], ...] = ()
    height: int = field(default=HEIGHT)
    base: int = field(default=BASE)


def bar_chart(
    rows: Sequence[tuple[str, Sequence[int]]],
    *,
    series: Sequence[str],
    write: Write,
    write_tick: Write,
    title: str = "",
    heading: str = "",
) -> Chart:
    """A chart of stacked bars: `rows` are (label, one value ≥ 0 a series). `write`, `write_tick`: values in words.

    Raises ValueError where a row has another count of values than there are series, or there are too many series.
    """
    if len(series) > MOST_SERIES or any(len(values) != len(series) for _label, values in rows):
        raise ValueError("each row of a chart has one value for each of its series, of which there are at most eight")
    highest = max((sum(values) for _label, values in rows), default=0)
    steps = ticks(highest)
    texts = [write_tick(step) for step in steps]
    return Chart(
        title=title,
        heading=heading,
        bars=tuple(_bars(rows, series, steps[-1], write)),
        ticks=tuple(
            Tick(BASE - round((BASE - TOP) * step / steps[-1]), text) for step, text in zip(steps, texts, strict=True)
        ),
        axis_width=18 + 7 * max(len(text) for text in texts),
        rows=tuple((label, tuple(write(value) for value in values)) for label, values in rows),
        columns=tuple(series),
        legend=tuple(enumerate(series, start=1)) if len(series) > 1 else (),
    )


def ticks(highest: int) -> list[int]:
    """From 0 in two to five even steps of 1, 2, 2.5 or 5 times a power of ten, the last at or above `highest`."""
    if highest <= 0:
        return [0, 1]
    step = 1
    for power in range(len(str(highest)) + 1):
        for tenths in (10, 20, 25, 50):
            if power == 0 and tenths == 25:
                continue
            step = tenths * 10**power // 10
            if step * 4 >= highest:
                return [step * at for at in range(-(-highest // step) + 1)]
    raise AssertionError(step)


def _bars(rows: Sequence[tuple[str, Sequence[int]]], series: Sequence[str], top: int, write: Write) -> list[Bar]:
    slot = Decimal(100) / max(len(rows), FEWEST_SLOTS)
    every = -(-len(rows) // MOST_LABELS)
    bars = []
    for at, (label, values) in enumerate(rows):
        left, middle = slot * at, slot * at + slot / 2
        anchor = "start" if at == 0 and every > 1 else "end" if at == len(rows) - 1 and every > 1 else "middle"
        # Counted from the last one, which is the one people look for.
        nth, between = divmod(len(rows) - 1 - at, every)
        bars.append(
            Bar(
                slot_x=_per_cent(left),
                slot_width=_per_cent(slot),
                x=_per_cent(left + slot * (1 - BAR_SHARE) / 2),
                width=_per_cent(slot * BAR_SHARE),
                middle=_per_cent(left + slot if anchor == "end" else left if anchor == "start" else middle),
                anchor=anchor,
                label=label if between == 0 else "",
                minor=nth % 2 == 1,
                said=_said(label, values, series, write),
                parts=tuple(_parts(values, top)),
            )
        )
    return bars


def _said(label: str, values: Sequence[int], series: Sequence[str], write: Write) -> str:
    if len(values) == 1:
        return f"{label}: {write(values[0])}"
    each = [f"{name} {write(value)}" for name, value in zip(series, values, strict=True) if value]
    return "\n".join([f"{label}: {write(sum(values))}", *each])


def _parts(values: Sequence[int], top: int) -> list[Part]:
    parts, below = [], 0
    last = max((at for at, value in enumerate(values) if value), default=0)
    for at, value in enumerate(values):
        if value:
            low, high = _y(below, top), _y(below + value, top)
            # What is there is seen, however little.
            high = min(high, low - 1) if at == last else high
            parts.append(Part(at + 1, f"{high:.1f}", f"{low - high:.1f}", top=at == last))
            below += value
    return parts


def _y(value: int, top: int) -> Decimal:
    return BASE - Decimal(BASE - TOP) * value / top


def _per_cent(value: Decimal) -> str:
    return f"{value:.3f}"


@dataclass(frozen=True, slots=True)
class Rank:
    """A row of a list by size: `width` in per cent of the first."""

    label: Any
    href: str
    width: str
    text: str
    exact: str


def ranks(rows: Sequence[tuple[Any, ...]], *, write: Write, write_short: Write) -> list[Rank]:
    """Rows (label, value ≥ 0) or (label, value, href) with the width of each one's bar, in the order given."""
    most = max((row[1] for row in rows), default=0) or 1
    return [
        Rank(
            label=row[0],
            href=row[2] if len(row) > 2 else "",
            width=f"{Decimal(100) * row[1] / most:.2f}",
            text=write_short(row[1]),
            exact=write(row[1]),
        )
        for row in rows
    ]
