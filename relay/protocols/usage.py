"""Token counters of upstreams, normalised once into disjoint units (`costrouter.lib.units`)."""

from __future__ import annotations

from typing import Any

from costrouter.lib.units import UNITS

# More tokens than this in one answer are a broken counter, not usage.
MAX_TOKENS = 1_000_000_000


def token_count(value: Any) -> int | None:
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
    prompt, completion = token_count(usage.get("prompt_tokens")), token_count(usage.get("completion_tokens", 0))
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
        units[name] = min(rest, token_count(inside.get(field)) or 0)
        rest -= units[name]
    if not units["cache_read"]:
        beside = token_count(usage.get("cached_tokens")) or token_count(usage.get("prompt_cache_hit_tokens")) or 0
        units["cache_read"] = min(rest, beside)
        rest -= units["cache_read"]
    units["input"] = rest
    made = usage.get("completion_tokens_details")
    made = made if isinstance(made, dict) else {}
    reasoning = token_count(made.get("reasoning_tokens")) or 0
    if reasoning and reasoning > 0 and token_count(usage.get("total_tokens")) == prompt + completion + reasoning:
        completion += reasoning
    rest = completion
    for name, field in (("audio_out", "audio_tokens"), ("image_out", "image_tokens")):
        units[name] = min(rest, token_count(made.get(field)) or 0)
        rest -= units[name]
    units["output"] = rest
    units["reasoning"] = min(rest, reasoning)
    if not prompt and not completion:
        return None  # a counter that was never filled in: no prompt is empty
    return {name: units[name] for name in UNITS if units.get(name)}


def openai_usage(units: dict[str, int]) -> dict[str, Any]:
    """An OpenAI `usage` object of units: the inverse, for a client of that dialect. Details are told where there are
    any."""
    count = units.get
    written = count("cache_write_5m", 0) + count("cache_write_1h", 0)
    read = {"cached_tokens": count("cache_read", 0), "cache_write_tokens": written}
    read |= {"audio_tokens": count("audio_in", 0), "image_tokens": count("image_in", 0)}
    made = {"audio_tokens": count("audio_out", 0), "image_tokens": count("image_out", 0)}
    prompt = count("input", 0) + sum(read.values())
    completion = count("output", 0) + sum(made.values())
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    usage["total_tokens"] = prompt + completion
    if any(read.values()):
        usage["prompt_tokens_details"] = {name: quantity for name, quantity in read.items() if quantity}
    made["reasoning_tokens"] = count("reasoning", 0)
    if any(made.values()):
        usage["completion_tokens_details"] = {name: quantity for name, quantity in made.items() if quantity}
    return usage


def anthropic_units(usage: object) -> dict[str, int] | None:
    """Units of an Anthropic `usage` object, or None where it does not say what was used.

    Source: `Usage` and `BetaUsage` of the anthropic 2.12 package. `input_tokens` excludes what was read from and
    written to the cache; `output_tokens` includes thinking. What a compaction used stands in `iterations` alone.
    Where the counters name searches, the units do, be there none.
    """
    if not isinstance(usage, dict):
        return None
    iterations = usage.get("iterations")
    counted = [usage] + [
        each
        for each in (iterations if isinstance(iterations, list) else ())
        if isinstance(each, dict) and each.get("type") == "compaction"
    ]
    units: dict[str, int] = {}
    for counters in counted:
        read, made = token_count(counters.get("input_tokens")), token_count(counters.get("output_tokens"))
        if read is None or made is None:
            return None
        hour, five_minutes = _cache_writes(counters)
        details = counters.get("output_tokens_details")
        thinking = token_count(details.get("thinking_tokens")) if isinstance(details, dict) else 0
        for name, quantity in (
            ("input", read),
            ("cache_read", token_count(counters.get("cache_read_input_tokens")) or 0),
            ("cache_write_5m", five_minutes),
            ("cache_write_1h", hour),
            ("output", made),
            ("reasoning", min(made, thinking or 0)),
        ):
            units[name] = units.get(name, 0) + quantity
    if not any(units.values()) or max(units.values()) > MAX_TOKENS:
        return None  # counters that were never filled in: no prompt is empty
    found = {name: units[name] for name in UNITS if units.get(name)}
    servers = usage.get("server_tool_use")
    searches = token_count(servers.get("web_search_requests")) if isinstance(servers, dict) else None
    return found if searches is None else {**found, "searches": searches}


def _cache_writes(counters: dict[str, Any]) -> tuple[int, int]:
    """Tokens written to the cache for an hour, and for five minutes. What the split leaves open goes where all went."""
    split = counters.get("cache_creation")
    split = split if isinstance(split, dict) else {}
    hour = token_count(split.get("ephemeral_1h_input_tokens")) or 0
    five_minutes = token_count(split.get("ephemeral_5m_input_tokens")) or 0
    rest = max(0, (token_count(counters.get("cache_creation_input_tokens")) or 0) - hour - five_minutes)
    return (hour + rest, 0) if hour and not five_minutes else (hour, five_minutes + rest)


def anthropic_usage(units: dict[str, int]) -> dict[str, Any]:
    """The inverse: an Anthropic `usage` object."""
    hour, five_minutes = units.get("cache_write_1h", 0), units.get("cache_write_5m", 0)
    usage: dict[str, Any] = {
        "input_tokens": sum(units.get(name, 0) for name in ("input", "audio_in", "image_in")),
        "cache_creation_input_tokens": hour + five_minutes,
        "cache_read_input_tokens": units.get("cache_read", 0),
        "cache_creation": {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour},
        "output_tokens": sum(units.get(name, 0) for name in ("output", "audio_out", "image_out")),
    }
    if units.get("reasoning"):
        usage["output_tokens_details"] = {"thinking_tokens": units["reasoning"]}
    if "searches" in units:
        usage["server_tool_use"] = {"web_search_requests": units["searches"], "web_fetch_requests": 0}
    return usage


def gemini_units(usage: object) -> dict[str, int] | None:
    """Units of a Gemini `usageMetadata` object, or None where it does not say what was used.

    Source: `GenerateContentResponseUsageMetadata` and `UsageMetadata` of the google-genai 3.4 package. The prompt's
    count includes what was read from the cache; what tools brought is input beside it. Thoughts are output, and are not
    in `candidatesTokenCount`. Only audio and images have units of their own; video and documents are plain input.
    """
    if not isinstance(usage, dict):
        return None
    prompt, tools, made, thoughts = (
        token_count(usage.get(field) or 0)
        for field in ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    )
    if prompt is None or tools is None or made is None or thoughts is None or not prompt + tools + made + thoughts:
        return None
    cached = min(prompt, token_count(usage.get("cachedContentTokenCount")) or 0)
    read, kept = _modalities(usage, "promptTokensDetails"), _modalities(usage, "cacheTokensDetails")
    brought, said = _modalities(usage, "toolUsePromptTokensDetails"), _modalities(usage, "candidatesTokensDetails")
    units = {"cache_read": cached}
    rest, left = prompt - cached + tools, made
    for modality, name in (("AUDIO", "audio"), ("IMAGE", "image")):
        fresh = max(0, read.get(modality, 0) - kept.get(modality, 0)) + brought.get(modality, 0)
        units[f"{name}_in"] = min(rest, fresh)
        rest -= units[f"{name}_in"]
        units[f"{name}_out"] = min(left, said.get(modality, 0))
        left -= units[f"{name}_out"]
    units["input"], units["output"], units["reasoning"] = rest, left + thoughts, thoughts
    return {name: units[name] for name in UNITS if units.get(name)}


def _modalities(usage: dict[str, Any], field: str) -> dict[str, int]:
    """Token counts by modality; {} where they are not told."""
    details = usage.get(field)
    found: dict[str, int] = {}
    for detail in details if isinstance(details, list) else ():
        modality = detail.get("modality") if isinstance(detail, dict) else None
        if isinstance(modality, str):
            found[modality] = found.get(modality, 0) + (token_count(detail.get("tokenCount")) or 0)
    return found


def gemini_usage(units: dict[str, int]) -> dict[str, Any]:
    """A Gemini `usageMetadata` object of units: the inverse, for a client of that dialect."""
    read = {name: units.get(name, 0) for name in ("input", "cache_write_5m", "cache_write_1h", "cache_read")}
    audio_in, image_in = units.get("audio_in", 0), units.get("image_in", 0)
    audio_out, image_out, thoughts = units.get("audio_out", 0), units.get("image_out", 0), units.get("reasoning", 0)
    prompt = sum(read.values()) + audio_in + image_in
    said = max(0, units.get("output", 0) - thoughts)
    made = said + audio_out + image_out
    usage: dict[str, Any] = {"promptTokenCount": prompt, "candidatesTokenCount": made}
    usage["totalTokenCount"] = prompt + made + thoughts
    if read["cache_read"]:
        usage["cachedContentTokenCount"] = read["cache_read"]
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    for field, text, audio, image in (
        ("promptTokensDetails", prompt - audio_in - image_in, audio_in, image_in),
        ("candidatesTokensDetails", said, audio_out, image_out),
    ):
        if audio or image:
            counts = (("TEXT", text), ("AUDIO", audio), ("IMAGE", image))
            usage[field] = [{"modality": name, "tokenCount": count} for name, count in counts if count]
    return usage


def responses_units(usage: object) -> dict[str, int] | None:
    """Units of a `usage` object of OpenAI's Responses, or None where it does not say what was used.

    Source: `ResponseUsage` of the openai 3.54 package. It counts as a chat completion's does, in other words.
    """
    if not isinstance(usage, dict):
        return None
    renamed = {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens", 0),
        "prompt_tokens_details": usage.get("input_tokens_details"),
        "completion_tokens_details": usage.get("output_tokens_details"),
        "total_tokens": usage.get("total_tokens"),
    }
    return openai_units(renamed)


def responses_usage(units: dict[str, int]) -> dict[str, Any]:
    """A Responses `usage` object of units: the inverse, for a client of that dialect."""
    read, written = units.get("cache_read", 0), units.get("cache_write_5m", 0) + units.get("cache_write_1h", 0)
    details_in = {"cached_tokens": read, "cache_write_tokens": written}
    details_out = {"reasoning_tokens": units.get("reasoning", 0)}
    total = {"in": units.get("input", 0) + read + written, "out": units.get("output", 0)}
    for way, details in (("in", details_in), ("out", details_out)):
        for medium in ("audio", "image"):
            if quantity := units.get(f"{medium}_{way}", 0):
                details[f"{medium}_tokens"] = quantity
                total[way] += quantity
    return {
        "input_tokens": total["in"],
        "input_tokens_details": details_in,
        "output_tokens": total["out"],
        "output_tokens_details": details_out,
        "total_tokens": total["in"] + total["out"],
    }


def bedrock_units(usage: object) -> dict[str, int] | None:
    """Units of a `TokenUsage` of Bedrock's Converse, or None where it does not say what was used.

    Source: `TokenUsage` of botocore 1.44, and "Prompt caching" of Bedrock's user guide. `inputTokens` excludes what was
    read from and written to the cache; `cacheDetails` split the writes. Reasoning is in `outputTokens`, and not told.
    """
    if not isinstance(usage, dict):
        return None
    read, made = token_count(usage.get("inputTokens")), token_count(usage.get("outputTokens"))
    if read is None or made is None:
        return None
    written = {"1h": 0, "5m": 0}
    details = usage.get("cacheDetails")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and detail.get("ttl") in ("1h", "5m"):
            written[detail["ttl"]] += token_count(detail.get("inputTokens")) or 0
    rest = max(0, (token_count(usage.get("cacheWriteInputTokens")) or 0) - sum(written.values()))
    units = {
        "input": read,
        "cache_read": token_count(usage.get("cacheReadInputTokens")) or 0,
        "cache_write_5m": written["5m"] + rest,
        "cache_write_1h": written["1h"],
        "output": made,
    }
    if not any(units.values()) or max(units.values()) > MAX_TOKENS:
        return None  # counters that were never filled in: no prompt is empty
    return {name: quantity for name, quantity in units.items() if quantity}
