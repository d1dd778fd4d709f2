"""Token counters of upstreams, normalised once into disjoint units (`costrouter.lib.units`)."""

from __future__ import annotations

from typing import Any

from costrouter.lib.units import UNITS

# More tokens than this in one answer are a broken counter, not usage.
MAX_TOKENS = 1_000_000_000


def _count(value: Any) -> int | None:
    """A token count, or None where it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return int(value) if 0 <= value <= MAX_TOKENS and int(value) == value else None


def openai_units(usage: object) -> dict[str, int] | None:
    """Units of an OpenAI `usage` object, or None where it does not say what was used.

    Source: `CompletionUsage` of the openai 3.54 package. `prompt_tokens` includes what was read from and written to the
    cache and audio; `completion_tokens` includes reasoning and audio. Moonshot and DeepSeek tell cache reads beside
    `prompt_tokens`, as `cached_tokens` and `prompt_cache_hit_tokens`. xAI leaves reasoning out of `completion_tokens`:
    seen where the total is the sum of all three.
    """
    if not isinstance(usage, dict):
        return None
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens", 0))
    if prompt is None or completion is None:
        return None
    inside = usage.get("prompt_tokens_details")
    inside = inside if isinstance(inside, dict) else {}
    units: dict[str, int] = {}
    rest = prompt
    for name, field in (
        ("cache_read", "cached_tokens"),
        ("cache_write_5m", "cache_write_tokens"),
        ("audio_in", "audio_tokens"),
        ("image_in", "image_tokens"),
    ):
        units[name] = min(rest, _count(inside.get(field)) or 0)
        rest -= units[name]
    if not units["cache_read"]:
        beside = _count(usage.get("cached_tokens")) or _count(usage.get("prompt_cache_hit_tokens")) or 0
        units["cache_read"] = min(rest, beside)
        rest -= units["cache_read"]
    units["input"] = rest
    made = usage.get("completion_tokens_details")
    made = made if isinstance(made, dict) else {}
    reasoning = _count(made.get("reasoning_tokens")) or 0
    if reasoning and reasoning > 0 and _count(usage.get("total_tokens")) == prompt + completion + reasoning:
        completion += reasoning
    rest = completion
    for name, field in (("audio_out", "audio_tokens"), ("image_out", "image_tokens")):
        units[name] = min(rest, _count(made.get(field)) or 0)
        rest -= units[name]
    units["output"] = rest
    units["reasoning"] = min(rest, reasoning)
    if not prompt and not completion:
        return None  # a counter that was never filled in: no prompt is empty
    return {name: units[name] for name in UNITS if units.get(name)}
