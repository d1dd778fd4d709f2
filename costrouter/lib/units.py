"""THE table of priced units. Usage is a mapping of these names to whole quantities; prices name the same units."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A thing that is charged: how many of it one price pays for, and whose price it takes when it has none."""

    name: str
    label: str
    per: int
    parent: str | None = None


_MILLION = 1_000_000
UNITS: dict[str, Unit] = {
    unit.name: unit
    for unit in (
        Unit("input", "Input tokens", _MILLION),
        Unit("cache_read", "Cached input tokens", _MILLION, "input"),
        Unit("cache_write_5m", "Cache writes, 5 minutes", _MILLION, "input"),
        Unit("cache_write_1h", "Cache writes, 1 hour", _MILLION, "input"),
        Unit("audio_in", "Audio input tokens", _MILLION, "input"),
        Unit("image_in", "Image input tokens", _MILLION, "input"),
        Unit("output", "Output tokens", _MILLION),
        Unit("reasoning", "Reasoning tokens", _MILLION, "output"),  # counted within output
        Unit("audio_out", "Audio output tokens", _MILLION, "output"),
        Unit("image_out", "Image output tokens", _MILLION, "output"),
        Unit("images", "Images", 1),
        Unit("searches", "Searches", 1),
        Unit("calls", "Calls", 1),
        Unit("seconds", "Seconds", 1),
        Unit("characters", "Characters", 1_000),
    )
}


def per_text(unit: str) -> str:
    """What one price of a unit pays for, for people: "per million", "per 1,000", "each"."""
    per = UNITS[unit].per
    return {1: "each", 1_000: "per 1,000", _MILLION: "per million"}[per]
