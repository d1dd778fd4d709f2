"""Anthropic's Messages, the request: what it may cost, and what must change in it on the way.

Source of the format: `MessageCreateParams` of the anthropic 2.12 package (stable and beta), and the documentation of
prices, fast mode and data residency. A request travels on as bytes: of its top level only the fields that must change
are changed, so that fields nobody here has heard of survive.
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
    string,
    utf8_length,
    value_of,
)

_encode = msgspec.json.encode
# What a web search tool may do in one request where it does not say, and the most it may ask for.
DEFAULT_SEARCHES, MAX_SEARCHES = 10, 1_000

# Other servers' names for what `max_tokens` bounds, or for more answers than one: they would slip past what was held.
UNBOUNDED = (
    *("n", "best_of", "n_choices", "max_completion_tokens", "max_output_tokens", "max_new_tokens"),
    *("max_tokens_to_sample", "n_predict", "num_predict"),
)
# Other models, other payers, or work of their own: no price here covers that.
UNPRICED = ("fallbacks", "billing_policy", "mcp_servers", "models", "route", "plugins", "provider", "search_parameters")
# State that is stored upstream, under an account that many tenants share.
STORED = ("container", "thread", "fallback_credit_token")
# Fields that the upstream does not read as input. The text of any other counts as such.
_NOT_INPUT = frozenset(
    {
        *("model", "messages", "system", "stream", "max_tokens", "stop_sequences", "metadata", "service_tier", "speed"),
        *("temperature", "top_p", "top_k", "thinking", "tool_choice", "cache_control", "inference_geo", "diagnostics"),
    }
)
# Tools that the client runs, or that cost nothing but their tokens. `_20250124` and the like are left off.
_FREE_TOOLS = frozenset(
    {
        *("custom", "bash", "text_editor", "computer", "computer_toolset", "browser_toolset", "memory"),
        *("tool_search_tool_regex", "tool_search_tool_bm25"),
    }
)
_TIERS = (None, "auto", "standard_only")


def parse(body: bytes, path: str = "") -> Request:
    """Read a request's body. Raises RelayError: bad JSON, a quantity out of bounds, a field that cannot be relayed."""
    with no_deep_nesting():
        fields = read_object(body)
        request = _common("anthropic", fields)
        cap = integer(fields, "max_tokens", 0, MAX_CAP)
        if cap is None:
            raise RelayError("invalid_request", "max_tokens: Field required", param="max_tokens")
        # A request for no token at all fills the prompt cache.
        request.cap, request.output = cap or None, cap > 0
        request.stream = boolean(fields, "stream")
        _read_features(request)
        return request


def parse_count(body: bytes, path: str = "") -> Request:
    """Read a request for a count of tokens, which costs nothing."""
    with no_deep_nesting():
        request = _common("anthropic_count", read_object(body))
        request.output = False
        return request


def _common(dialect: str, fields: Fields) -> Request:
    model = model_of(fields)
    for names, code, reason in (
        (UNBOUNDED, "unsupported_field", "cannot be relayed: use max_tokens"),
        (UNPRICED, "unpriced_feature", "cannot be relayed: it has no price here"),
        (STORED, "stored_state", "names state that is stored upstream, which is not available here"),
    ):
        for name in names:
            if given(fields, name):
                raise RelayError(code, f"{name} {reason}.", param=name)
    request = Request(dialect=dialect, fields=fields, model=model, has_tools=bool(list_of(fields, "tools")))
    _read_input(request)
    return request


def _read_features(request: Request) -> None:
    """Note the fields that change what the upstream charges."""
    fields, features = request.fields, request.features
    tier = string(fields, "service_tier")
    if tier not in _TIERS:
        features.append(Feature("service_tier", tier=tier))
    speed = string(fields, "speed")
    if speed not in (None, "standard"):
        features.append(Feature("speed", tier=speed))
    if string(fields, "inference_geo") not in (None, "global"):
        features.append(Feature("inference_geo"))
    management = value_of(fields, "context_management")
    edits = management.get("edits") if isinstance(management, dict) else None
    for number, edit in enumerate(edits if isinstance(edits, list) else ()):
        kind = edit.get("type") if isinstance(edit, dict) else None
        if not isinstance(kind, str) or not kind.startswith("clear_"):
            # A compaction reads the whole conversation once more.
            features.append(Feature(f"context_management.edits[{number}].type"))
    for number, tool in enumerate(list_of(fields, "tools")):
        _read_tool(tool, number, request)


def _read_tool(tool: Any, number: int, request: Request) -> None:
    if not isinstance(tool, dict):
        raise RelayError("invalid_request", f"tools[{number}] must be an object.", param="tools")
    kind = tool.get("type")
    if kind is None or (isinstance(kind, str) and _family(kind) in _FREE_TOOLS):
        return
    if not isinstance(kind, str) or _family(kind) != "web_search":
        request.features.append(Feature(f"tools[{number}].type"))
        return
    uses = tool.get("max_uses")
    if uses is None:
        uses = DEFAULT_SEARCHES
    if isinstance(uses, bool) or not isinstance(uses, int) or not 1 <= uses <= MAX_SEARCHES:
        where = f"tools[{number}].max_uses"
        raise RelayError("invalid_request", f"{where} must be a whole number from 1 to {MAX_SEARCHES}.", param=where)
    request.features.append(Feature(f"tools[{number}].type", unit="searches"))
    request.pieces["searches"] = request.pieces.get("searches", 0) + uses


def _family(kind: str) -> str:
    """A tool's type without the date of its version."""
    name, _, date = kind.rpartition("_")
    return name if date.isdecimal() and len(date) == 8 else kind


def _read_input(request: Request) -> None:
    """Count what the upstream will read: text in UTF-8 bytes, messages, and parts that are not text."""
    fields, texts = request.fields, request.texts
    messages = value_of(fields, "messages")
    if not isinstance(messages, list) or not messages:
        raise RelayError("invalid_request", "messages must be a list with at least one message.", param="messages")
    request.messages = len(messages)
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise RelayError("invalid_request", f"messages[{number}] must be an object.", param="messages")
        _read_content(message.get("content"), request, f"messages[{number}]")
        rest = {name: value for name, value in message.items() if name not in ("role", "content")}
        if rest:
            texts.append(_encode(rest).decode())
    if given(fields, "system"):
        request.messages += 1
        _read_content(value_of(fields, "system"), request, "system")
    for tool in list_of(fields, "tools"):
        _note_cache(tool, request)
    _note_cache({"cache_control": value_of(fields, "cache_control")}, request)
    request.text_bytes = sum(map(utf8_length, texts))
    for name, value in fields.items():
        if name not in _NOT_INPUT and (raw := bytes(value))[:1] in (b'"', b"[", b"{"):
            request.text_bytes += len(raw)
            texts.append(raw.decode("utf-8", "replace"))


def _note_cache(block: Any, request: Request) -> None:
    mark = block.get("cache_control") if isinstance(block, dict) else None
    if isinstance(mark, dict) and mark.get("ttl") == "1h":
        request.hour_cache = True


def _read_content(content: Any, request: Request, where: str) -> None:
    """Count a message's content, a system prompt, a tool's result, or a document made of blocks."""
    if isinstance(content, str):
        request.texts.append(content)
    elif isinstance(content, list):
        for block in content:
            _read_block(block, request, where)
    elif content is not None:
        _read_block(content, request, where)


# Of a block, what names its kind and is no text.
_FRAME = frozenset({"type", "cache_control"})


def _read_block(block: Any, request: Request, where: str) -> None:
    if not isinstance(block, dict):
        request.texts.append(_encode(block).decode())
        return
    _note_cache(block, request)
    kind, source = block.get("type"), block.get("source")
    if block.get("file_id") or (isinstance(source, dict) and source.get("file_id")):
        raise RelayError(
            "stored_state",
            f"{where} names a file that is stored upstream, which is not available here; send its data.",
            param="messages",
        )
    rest = {name: value for name, value in block.items() if name not in _FRAME}
    if kind == "text":
        text = rest.pop("text", None)
        if isinstance(text, str):
            request.texts.append(text)
    elif kind in ("image", "document") and isinstance(source, dict):
        del rest["source"]
        _read_source(kind, source, request, where)
    elif kind != "tool_use" and isinstance(rest.get("content"), str | list | dict):
        _read_content(rest.pop("content"), request, where)
    if rest:
        request.texts.append(_encode(rest).decode())


def _read_source(kind: str, source: dict[str, Any], request: Request, where: str) -> None:
    """Count an image or a document."""
    data, url = source.get("data"), source.get("url")
    if url is not None and not (isinstance(url, str) and url[:8].lower().startswith(("http://", "https://"))):
        # Some servers would read a file: URL from their own disk.
        raise RelayError("invalid_request", f"{where}: a source's url is an http or https URL.", param="messages")
    if source.get("type") == "content":
        _read_content(source.get("content"), request, where)
    elif source.get("type") == "text" and isinstance(data, str):
        request.texts.append(data)
    else:
        size = len(data) if isinstance(data, str) else None
        request.media.append(Media("image" if kind == "image" else "file", size))


def upstream_body(request: Request, target: Target) -> bytes:
    """The body for an upstream: the model's name there, and our cap if there is one.

    What `diagnostics` names is another message of the upstream's account, and need not be this tenant's: it is left
    out, since nothing but a note on cache misses hangs on it.
    """
    fields = dict(request.fields)
    fields["model"] = msgspec.Raw(_encode(target.model))
    if target.cap is not None and request.output:
        fields["max_tokens"] = msgspec.Raw(_encode(target.cap))
    fields.pop("diagnostics", None)
    return _encode(fields)
