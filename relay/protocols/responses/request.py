"""OpenAI Responses, the request: what it may cost, and what must change in it on the way.

Source of the format: the request types of the openai 3.54 package. A request travels on as bytes: of its top level only
the fields that must change are changed. The relay keeps conversations itself: `store` is always sent upstream as false,
and `previous_response_id` names a turn that the relay stored (`relay.protocols.responses.turns`), never one upstream.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
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
    string,
    strings,
    utf8_length,
    value_of,
)
from relay.protocols.plain_json import tier_of
from relay.protocols.responses.reasoning import may_reason

_encode = msgspec.json.encode
_items = msgspec.json.Decoder(list[msgspec.Raw])

# Searches that are held for where a request does not say how many tools may be called, and the most it may say.
SEARCHES = 10
MAX_TOOL_CALLS = 1_000

# Other APIs' names for what `max_output_tokens` bounds: relayed, they would slip past what was held.
UNBOUNDED = ("n", "best_of", "max_tokens", "max_completion_tokens", "n_predict", "num_predict", "max_new_tokens")
# Routers upstream take these to choose another model, or to add work of their own: no price here covers that.
UNPRICED = ("models", "route", "plugins", "provider", "search_parameters")
# State that is stored upstream, under an account that many tenants share.
STORED = ("conversation", "prompt", "container", "cached_content", "vector_store_ids")
_STORED_KEYS = frozenset({"file_id", "file_ids", "container_id", "vector_store_ids", "skill_id", "tunnel_id"})
# Fields that the upstream does not read as input. The text of any other counts as such.
_NOT_INPUT = frozenset(
    {
        *("model", "input", "stream", "stream_options", "max_output_tokens", "max_tool_calls", "temperature", "top_p"),
        *("top_logprobs", "user", "safety_identifier", "metadata", "client_metadata", "service_tier", "store"),
        *("include", "parallel_tool_calls", "tool_choice", "reasoning", "truncation", "background", "seed"),
        *("background_options", "previous_response_id", "prompt_cache_key", "prompt_cache_retention", "image"),
        *("prompt_cache_options", "context_management", "moderation", "access_programs"),
    }
)
# Tools that the client runs: they cost tokens and nothing else. `tool_search` only finds others of the request.
_FREE_TOOLS = frozenset(
    {
        *("function", "custom", "local_shell", "apply_patch", "computer", "computer_use_preview", "computer-preview"),
        *("namespace", "tool_search"),
    }
)
# Items that bring more tools into the conversation.
_TOOL_ITEMS = frozenset({"additional_tools", "tool_search_output"})
# Items that an upstream would look up by their id where this is missing.
_BY_ID = {"image_generation_call": "result", "compaction": "encrypted_content"}
# Parts that are not text → their kind, and where their data, or a URL, may be.
_MEDIA = {
    "input_image": ("image", "image_url"),
    "computer_screenshot": ("image", "image_url"),
    "image_generation_call": ("image", "result"),
    "input_file": ("file", "file_data"),
    "input_audio": ("audio", "data"),
}
# Words of the format that a model does not read as text.
_WORDS = frozenset({"type", "role", "status", "id", "detail", "phase"})
_MAX_WORD = 64

_ENCRYPTED = "reasoning.encrypted_content"
_SEALED = b'"cr1.'


@dataclass(slots=True)
class Options:
    """What the dialect's own files remember of a request.

    `store`: the client wants the turn kept. `previous`: the stored turn that it continues. `items`: its new input, item
    by item as it was sent. `history`: the items of the turn that it continues; None while they are not known. `seed`:
    unique to this request (32 hexadecimal digits); the answer's id is made of it.
    """

    store: bool = True
    previous: str | None = None
    items: list[msgspec.Raw] = field(default_factory=list)
    history: list[msgspec.Raw] | None = None
    seed: str = ""

    @property
    def response_id(self) -> str:
        """The id of the answer, as the client sees it."""
        return response_id(self.seed)


def response_id(seed: str) -> str:
    """The id of an answer, as the client sees it."""
    return f"resp_{seed}"


def parse(body: bytes, path: str = "") -> Request:
    """Read a request's body. Raises RelayError: bad JSON, a quantity out of bounds, a field that cannot be relayed."""
    with no_deep_nesting():
        fields = read_object(body)
        return _read(fields, Options(boolean(fields, "store") or not given(fields, "store")), "responses")


def parse_compact(body: bytes, path: str = "") -> Request:
    """The same for a compaction, which is not stored and has no bound of its own."""
    with no_deep_nesting():
        return _read(read_object(body), Options(store=False), "responses_compact")


def with_history(request: Request, items: list[msgspec.Raw]) -> Request:
    """The request with the items of the turn that it continues before its own, counted anew."""
    options = replace(request.options, history=items)
    fields = dict(request.fields)
    fields.pop("previous_response_id", None)
    fields["input"] = msgspec.Raw(_encode([*items, *options.items]))
    with no_deep_nesting():
        return _read(fields, options, request.dialect)


def resolved(request: Request) -> None:
    """Raises `stored_state` where a request continues a turn whose items nobody has given it."""
    options: Options = request.options
    if options.previous is not None and options.history is None:
        raise RelayError("stored_state", "previous_response_id names no turn here.", param="previous_response_id")


def _read(fields: Fields, options: Options, dialect: str) -> Request:
    model = model_of(fields)
    for name in (*UNBOUNDED, *UNPRICED, *STORED):
        if given(fields, name):
            raise _refused_field(name)
    if boolean(fields, "background"):
        raise RelayError("unsupported_field", "background answers cannot be relayed.", param="background")
    if options.history is None:
        options.previous = string(fields, "previous_response_id") or None
        options.items = _input_items(fields, options.previous)
    request = Request(
        dialect=dialect,
        fields=fields,
        model=model,
        stream=boolean(fields, "stream"),
        cap=integer(fields, "max_output_tokens", 1, MAX_CAP),
        has_tools=given(fields, "tools"),
        options=options,
    )
    request.features += tier_of(fields)
    cache = value_of(fields, "prompt_cache_options")
    if isinstance(cache, dict):
        _refuse_cache(cache, request)
    _read_tools(list_of(fields, "tools"), "tools", request)
    _read_input(request)
    _count_searches(request)
    return request


def _refused_field(name: str) -> RelayError:
    if name in UNBOUNDED:
        return RelayError("unsupported_field", f"{name} cannot be relayed: use max_output_tokens.", param=name)
    if name in UNPRICED:
        return RelayError("unpriced_feature", f"{name} cannot be relayed: it has no price here.", param=name)
    return _stored(name, name)


def _stored(where: str, param: str) -> RelayError:
    return RelayError(
        "stored_state", f"{where} names state that is stored upstream, which is not available here.", param=param
    )


def _refuse_cache(options: dict[str, Any], request: Request) -> None:
    """Caches that live long have a price of their own; a comparison names an answer that is stored upstream."""
    if options.get("comparison_response_id") is not None:
        raise _stored("prompt_cache_options.comparison_response_id", "prompt_cache_options")
    if options.get("ttl") not in (None, "30m"):
        request.features.append(Feature("prompt_cache_options.ttl"))


def _input_items(fields: Fields, previous: str | None) -> list[msgspec.Raw]:
    """The items of the input as they were sent; a text is a message of the user."""
    raw = fields.get("input")
    sent = bytes(raw) if raw is not None else b"null"
    if sent[:1] == b'"':
        message = {"type": "message", "role": "user", "content": string(fields, "input")}
        return [msgspec.Raw(_encode(message))]
    if sent[:1] == b"[":
        try:
            items = _items.decode(sent)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RelayError("invalid_json", f"The body is not JSON: {error}.", param="input") from error
        if items or previous is not None:
            return items
    elif sent == b"null" and previous is not None:
        return []
    raise RelayError("invalid_request", "input must be a text, or a list with at least one item.", param="input")


def _read_tools(tools: Iterable[Any], where: str, request: Request) -> None:
    """The tools that the upstream runs, and charges for."""
    for number, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        name = f"{where}[{number}]"
        if not isinstance(kind, str):
            request.features.append(Feature(f"{name}.type"))
            continue
        if kind not in ("function", "custom"):
            _refuse_stored(tool, name, where)
        if kind == "namespace":
            inner = tool.get("tools")
            _read_tools(inner if isinstance(inner, list) else [], f"{name}.tools", request)
        elif kind.startswith("web_search"):
            request.features.append(Feature(f"{name}.type", unit="searches"))
        elif kind not in _FREE_TOOLS and not _is_local(kind, tool):
            request.features.append(Feature(f"{name}.type"))


def _is_local(kind: str, tool: dict[str, Any]) -> bool:
    """Whether a shell is the client's own, not a container upstream."""
    environment = tool.get("environment")
    return kind == "shell" and isinstance(environment, dict) and environment.get("type") == "local"


def _refuse_stored(tool: dict[str, Any], where: str, param: str) -> None:
    """Refuse a tool that names stored state: in its own fields, or in the container that it runs in."""
    container = tool.get("container")
    if isinstance(container, str):
        raise _stored(f"{where}.container", param)
    for part in (tool, container, tool.get("environment"), tool.get("input_image_mask")):
        if not isinstance(part, dict):
            continue
        skills = part.get("skills")
        for holder in (part, *(skills if isinstance(skills, list) else ())):
            for name in _STORED_KEYS & holder.keys() if isinstance(holder, dict) else ():
                if holder[name]:
                    raise _stored(f"{where}.{name}", param)


def _count_searches(request: Request) -> None:
    calls = integer(request.fields, "max_tool_calls", 1, MAX_TOOL_CALLS)
    if any(feature.unit == "searches" for feature in request.features):
        request.pieces["searches"] = SEARCHES if calls is None else calls


def _read_input(request: Request) -> None:
    """Count what the upstream will read: text in UTF-8 bytes, items, and parts that are not text."""
    value = value_of(request.fields, "input")
    if isinstance(value, str):
        request.messages = 1
        request.texts.append(value)
    else:
        request.messages = len(value or ())
        for number, item in enumerate(value or ()):
            _read_item(item, f"input[{number}]", request)
    request.text_bytes = sum(map(utf8_length, request.texts))
    for name, raw_value in request.fields.items():
        if name not in _NOT_INPUT and (raw := bytes(raw_value))[:1] in (b'"', b"[", b"{"):
            request.text_bytes += len(raw)
            request.texts.append(raw.decode("utf-8", "replace"))


def _read_item(item: Any, where: str, request: Request) -> None:
    if not isinstance(item, dict):
        raise RelayError("invalid_request", f"{where} must be an object.", param="input")
    kind = item.get("type")
    if not isinstance(kind, str | None):
        raise RelayError("invalid_request", f"{where}.type must be a string.", param="input")
    if kind == "item_reference" or (kind is None and "role" not in item):
        raise _stored(where, "input")
    if kind == "reasoning" and not any(item.get(name) for name in ("encrypted_content", "content", "summary")):
        raise _stored(where, "input")  # nothing but an id: what it thought would come from the store
    if kind in _BY_ID and not item.get(_BY_ID[kind]):
        raise _stored(where, "input")
    if kind in _TOOL_ITEMS:
        tools = item.get("tools")
        _read_tools(tools if isinstance(tools, list) else [], f"{where}.tools", request)
        request.has_tools = True
    environment = item.get("environment")
    if item.get("container_id") or (isinstance(environment, dict) and environment.get("container_id")):
        raise _stored(where, "input")
    _read_part(item, where, request)


def _read_part(part: dict[str, Any], where: str, request: Request) -> None:
    """Count an item, or a part of one."""
    if part.get("file_id"):
        raise RelayError(
            "stored_state",
            f"{where} names a file that is stored upstream, which is not available here; send its data.",
            param="input",
        )
    cache = part.get("prompt_cache_breakpoint")
    if isinstance(cache, dict) and cache.get("ttl") not in (None, "30m"):
        request.features.append(Feature(f"{where}.prompt_cache_breakpoint.ttl"))
    kind = part.get("type")
    data = _read_media(kind, part, where, request) if isinstance(kind, str) and kind in _MEDIA else ()
    for name, value in part.items():
        if name in data or (name in _WORDS and isinstance(value, str) and len(value) <= _MAX_WORD):
            continue
        if name in ("content", "output") and isinstance(value, dict | list):
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, dict):
                    _read_part(inner, where, request)
                else:
                    strings(inner, request.texts)
        else:
            strings(value, request.texts)


def _read_media(kind: str, part: dict[str, Any], where: str, request: Request) -> tuple[str, ...]:
    """Note a part that is not text. Returns its fields that are not text."""
    medium, name = _MEDIA[kind]
    inner = part.get("input_audio")
    data = inner.get(name) if kind == "input_audio" and isinstance(inner, dict) else part.get(name)
    for url in (part.get("image_url"), part.get("file_url")):
        address = url.get("url") if isinstance(url, dict) else url
        if isinstance(address, str) and not address[:8].lower().startswith(("http://", "https://", "data:")):
            # Some servers would read a file: URL from their own disk.
            raise RelayError("invalid_request", f"{where}: media is a data: or https: URL.", param="input")
    size = len(data) if isinstance(data, str) and medium != "image" else None
    request.media.append(Media(medium, size))
    return (name, "input_audio", "image_url", "file_url")


def upstream_body(request: Request, target: Target) -> bytes:
    """The body for an upstream: its name of the model, our cap, nothing stored, reasoning encrypted for our store."""
    resolved(request)
    fields = _for_upstream(request, target)
    fields["store"] = msgspec.Raw(b"false")
    if request.options.store and may_reason(target.model, given(fields, "reasoning")):
        include = list_of(fields, "include")
        if _ENCRYPTED not in include:
            fields["include"] = msgspec.Raw(_encode([*include, _ENCRYPTED]))
    if target.cap is not None:
        fields["max_output_tokens"] = msgspec.Raw(_encode(target.cap))
    return _encode(fields)


def compact_body(request: Request, target: Target) -> bytes:
    """The body of a compaction for an upstream: the model's name there."""
    resolved(request)
    return _encode(_for_upstream(request, target))


def _for_upstream(request: Request, target: Target) -> Fields:
    fields = dict(request.fields)
    fields.pop("previous_response_id", None)
    fields["model"] = msgspec.Raw(_encode(target.model))
    raw = fields.get("input")
    if raw is not None and _SEALED in bytes(raw):
        items = [*(request.options.history or ()), *request.options.items]
        fields["input"] = msgspec.Raw(_encode([item for item in items if not _is_sealed(item)]))
    return fields


def _is_sealed(item: msgspec.Raw) -> bool:
    """Whether an item is reasoning of another dialect's maker, which this one's could not read."""
    if _SEALED not in bytes(item):
        return False
    value = msgspec.json.decode(item)
    sealed = value.get("encrypted_content") if value.get("type") == "reasoning" else None
    return isinstance(sealed, str) and sealed.encode("utf-8", "replace").startswith(_SEALED[1:])
