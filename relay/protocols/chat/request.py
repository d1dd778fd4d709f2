"""OpenAI chat completions, the request: what it may cost, and what must change in it on the way.

Source of the format: the request and response types of the openai 3.54 package. A request travels on as bytes: of its
top level only the fields that must change are changed, so that fields nobody here has heard of survive.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Feature, Media, Request, Target
from relay.protocols.fields import (
    MAX_CAP,
    Fields,
    boolean,
    given,
    integer,
    list_of,
    model_of,
    no_deep_nesting,
    read_object,
    strings,
    utf8_length,
    value_of,
)
from relay.protocols.plain_json import tier_of

MAX_CHOICES = 128
_encode = msgspec.json.encode

# Other servers' names for what `max_tokens` and `n` bound: relayed, they would slip past what was held.
UNBOUNDED = ("best_of", "n_predict", "num_predict", "max_new_tokens", "max_output_tokens", "n_choices")
# Routers upstream take these to choose another model, or to add work of their own: no price here covers that.
UNPRICED = (
    *("models", "route", "plugins", "provider", "search_parameters", "fallbacks", "mcp_servers", "preset"),
    *("connectors", "web_search", "speed", "inference_geo"),
)
# State that is stored upstream, under an account that many tenants share.
STORED = ("previous_response_id", "conversation", "container", "cached_content", "vector_store_ids")
# Fields that the upstream does not read as input. The text of any other counts as such: tools, schemas, documents, a
# chat template, what nobody here has heard of.
_NOT_INPUT = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "n", "max_tokens", "max_completion_tokens", "stop", "seed"),
        *("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs"),
        *("top_logprobs", "user", "safety_identifier", "metadata", "service_tier", "store", "modalities", "audio"),
        *("parallel_tool_calls", "tool_choice", "function_call", "reasoning_effort", "reasoning", "verbosity"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "web_search_options", "moderation"),
    }
)
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# Parts that are not text, under the names that servers of this dialect give them.
_MEDIA = {
    "image_url": "image",
    "image": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "file": "file",
    "video_url": "file",
}


def parse(body: bytes, path: str = "") -> Request:
    """Read a request's body. Raises RelayError: bad JSON, a quantity out of bounds, a field that cannot be relayed."""
    with no_deep_nesting():
        return _parse(read_object(body))


def _parse(fields: Fields) -> Request:
    model = model_of(fields)
    for name in (*UNBOUNDED, *UNPRICED, *STORED):
        if given(fields, name):
            raise refused_field(name)
    refuse_nested(value_of(fields, "extra_body"))
    caps = [
        cap
        for cap in (integer(fields, "max_tokens", 1, MAX_CAP), integer(fields, "max_completion_tokens", 1, MAX_CAP))
        if cap is not None
    ]
    request = Request(
        dialect="chat",
        fields=fields,
        model=model,
        stream=boolean(fields, "stream"),
        choices=integer(fields, "n", 1, MAX_CHOICES) or 1,
        cap=max(caps) if caps else None,
        has_tools=given(fields, "tools") or given(fields, "functions"),
        features=_features(fields),
        options=include_usage(fields),
    )
    if any(feature.unit == "searches" for feature in request.features):
        request.pieces["searches"] = request.choices
    _read_caches(request)
    _read_messages(request)
    return request


def refused_field(name: str) -> RelayError:
    """The 400 for a field of the lists above."""
    if name in UNBOUNDED:
        return RelayError("unsupported_field", f"{name} cannot be relayed: use max_tokens and n.", param=name)
    if name in UNPRICED:
        return RelayError("unpriced_feature", f"{name} cannot be relayed: it has no price here.", param=name)
    return RelayError(
        "stored_state", f"{name} names state that is stored upstream, which is not available here.", param=name
    )


def refuse_nested(value: Any) -> None:
    """Refuse stored state that is named inside a provider's own extras: Gemini's OpenAI endpoint takes it there."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in STORED and inner is not None:
                raise refused_field(name)
            refuse_nested(inner)


def include_usage(fields: Fields) -> bool:
    """Whether a client wants to see the usage of a stream."""
    options = value_of(fields, "stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise RelayError("invalid_request", "stream_options must be an object.", param="stream_options")
    return options.get("include_usage") is True


def _features(fields: Fields) -> list[Feature]:
    """The fields of a request that change what the upstream charges."""
    found = tier_of(fields)
    if given(fields, "web_search_options") or value_of(fields, "enable_search"):
        name = "web_search_options" if given(fields, "web_search_options") else "enable_search"
        found.append(Feature(name, unit="searches"))
    for modality in list_of(fields, "modalities"):
        if not isinstance(modality, str):
            raise RelayError("invalid_request", "modalities must be a list of strings.", param="modalities")
        if modality != "text":
            found.append(Feature("modalities", unit={"audio": "audio_out", "image": "image_out"}.get(modality)))
    for number, tool in enumerate(list_of(fields, "tools")):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in ("function", "custom"):
            found.append(Feature(f"tools[{number}].type"))
    return found


def _read_caches(request: Request) -> None:
    """Marks of caches outside the messages."""
    fields = request.fields
    options = value_of(fields, "prompt_cache_options")
    _read_mark({"cache_control": value_of(fields, "cache_control")}, "", request)
    _read_mark({"prompt_cache_breakpoint": options}, "prompt_cache_options.ttl", request)
    for number, tool in enumerate(list_of(fields, "tools")):
        _read_mark(tool, f"tools[{number}]", request)
        _read_mark(tool.get("function") if isinstance(tool, dict) else None, f"tools[{number}].function", request)


def _read_mark(part: Any, where: str, request: Request) -> None:
    """Caches that live long cost more: Anthropic's have a unit, OpenAI's have no price here."""
    if not isinstance(part, dict):
        return
    theirs, ours = part.get("cache_control"), part.get("prompt_cache_breakpoint")
    if isinstance(theirs, dict) and theirs.get("ttl") == "1h":
        request.hour_cache = True
    if isinstance(ours, dict) and ours.get("ttl") not in (None, "30m"):
        request.features.append(Feature(where))


def _read_messages(request: Request) -> None:
    """Count what the upstream will read: text in UTF-8 bytes, messages, and parts that are not text."""
    messages = value_of(request.fields, "messages")
    if not isinstance(messages, list) or not messages:
        raise RelayError("invalid_request", "messages must be a list with at least one message.", param="messages")
    request.messages = len(messages)
    texts = request.texts
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise RelayError("invalid_request", f"messages[{number}] must be an object.", param="messages")
        _read_mark(message, f"messages[{number}]", request)
        for name, value in message.items():
            if name == "content":
                if isinstance(value, str):
                    texts.append(value)
                elif isinstance(value, list):
                    for part in value:
                        _read_part(part, request, number)
                elif isinstance(value, dict):
                    _read_part(value, request, number)
            elif name == "audio" and isinstance(value, dict) and value.get("id"):
                raise RelayError(
                    "stored_state",
                    f"messages[{number}].audio.id names audio that is stored upstream, which is not available here.",
                    param="messages",
                )
            elif name != "role" or not isinstance(value, str) or value not in _ROLES:
                strings(value, texts)
    request.text_bytes = sum(map(utf8_length, texts))
    for name, value in request.fields.items():
        if name not in _NOT_INPUT and (raw := bytes(value))[:1] in (b'"', b"[", b"{"):
            request.text_bytes += len(raw)
            texts.append(raw.decode("utf-8", "replace"))


def _read_part(part: Any, request: Request, number: int) -> None:
    if not isinstance(part, dict):
        strings(part, request.texts)
        return
    _read_mark(part, f"messages[{number}].content", request)
    kind = part.get("type")
    if kind in ("text", "refusal"):
        strings({name: value for name, value in part.items() if name != "type"}, request.texts)
        return
    content = part.get(kind) if isinstance(kind, str) else None
    values = {**part, **content} if isinstance(content, dict) else dict(part)
    if values.get("file_id") or (isinstance(kind, str) and kind in _MEDIA and values.get("uuid")):
        raise RelayError(
            "stored_state",
            f"messages[{number}] names a file that is stored upstream, which is not available here; send its data.",
            param="messages",
        )
    medium = _MEDIA.get(kind) if isinstance(kind, str) else None
    if medium is not None:
        url = values.get("url") or (content if isinstance(content, str) else "")
        if isinstance(url, str) and url and not url[:8].lower().startswith(("http://", "https://", "data:")):
            # Some servers would read a file: URL from their own disk.
            raise RelayError(
                "invalid_request", f"messages[{number}]: media is a data: or https: URL.", param="messages"
            )
    if medium == "image":
        request.media.append(Media("image"))
    elif medium == "audio":
        request.media.append(Media("audio", _length(values.get("data"))))
    elif medium == "file":
        request.media.append(Media("file", _length(values.get("file_data"))))
    else:
        strings(part, request.texts)


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, str) else None


def upstream_body(request: Request, target: Target) -> bytes:
    """The body for an upstream: the model's name there, usage asked for, `store` off, and our cap if there is one."""
    fields = dict(request.fields)
    fields["model"] = msgspec.Raw(_encode(target.model))
    if request.stream:
        options = value_of(fields, "stream_options")
        fields["stream_options"] = msgspec.Raw(_encode({**(options or {}), "include_usage": True}))
    else:
        fields.pop("stream_options", None)
    if target.stores or given(fields, "store"):
        fields["store"] = msgspec.Raw(b"false")
    if target.cap is not None:
        fields[target.cap_field] = msgspec.Raw(_encode(target.cap))
    return _encode(fields)
