"""Anthropic's Messages, the request, to and from `relay.protocols.ir`.

Source of the format: `MessageCreateParams` of the anthropic 2.12 package. `temperature`, `top_p` and `top_k` are fields
of API version 2023-06-01, which 2026-10-21 took out.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.base import Request
from relay.protocols.fields import MAX_CAP, Fields, boolean, given, integer, list_of, no_deep_nesting, string, value_of

_encode = msgspec.json.encode
_NOT_HERE = "not Anthropic's"

# Fields that are read here, and those that are mere hints, or say what is so anyway.
_READ = frozenset(
    {
        *("model", "messages", "system", "stream", "max_tokens", "tools", "tool_choice", "thinking", "output_config"),
        *("output_format", "stop_sequences", "temperature", "top_p", "top_k", "metadata"),
    }
)
_HINTS = frozenset({"cache_control", "context_management", "diagnostics"})
# Fields that ask for nothing where they say this.
_USUAL = {"service_tier": ("auto", "standard_only"), "speed": ("standard",), "inference_geo": ("global",)}
MIN_BUDGET = 1_024  # tokens of thinking; fewer are refused


def to_ir(request: Request) -> ir.Request:
    """The conversation of a client's request. Raises RelayError for what another dialect cannot express."""
    with no_deep_nesting():
        return _to_ir(request.fields)


def _to_ir(fields: Fields) -> ir.Request:
    for name in fields:
        if name in _READ or name in _HINTS or not given(fields, name):
            continue
        if value_of(fields, name) not in _USUAL.get(name, ()):
            raise ir.unsupported(name, _NOT_HERE)
    max_tokens = integer(fields, "max_tokens", 0, MAX_CAP)
    if max_tokens == 0:
        raise ir.unsupported("max_tokens: 0", _NOT_HERE)
    config = _optional(value_of(fields, "output_config"), "output_config")
    choice, parallel = _choice_to_ir(_optional(value_of(fields, "tool_choice"), "tool_choice"))
    metadata = _optional(value_of(fields, "metadata"), "metadata")
    system = _blocks_to_ir(value_of(fields, "system"), "system", _TEXTS) if given(fields, "system") else []
    messages = [ir.Message("system", system)] if system else []
    names: dict[str, str] = {}
    for number, message in enumerate(list_of(fields, "messages")):
        messages.append(_message_to_ir(message, f"messages[{number}]", names))
    stop = list_of(fields, "stop_sequences")
    for sequence in stop:
        _text(sequence, "stop_sequences")
    return ir.Request(
        model=string(fields, "model") or "",
        messages=messages,
        stream=boolean(fields, "stream"),
        tools=[_tool_to_ir(tool, f"tools[{number}]") for number, tool in enumerate(list_of(fields, "tools"))],
        tool_choice=choice,
        parallel=parallel,
        output=_output_to_ir(config.get("format") or _optional(value_of(fields, "output_format"), "output_format")),
        thinking=_thinking_to_ir(_optional(value_of(fields, "thinking"), "thinking"), config),
        max_tokens=max_tokens,
        temperature=_number(fields, "temperature"),
        top_p=_number(fields, "top_p"),
        top_k=integer(fields, "top_k", 0, MAX_CAP),
        stop=stop,
        user=_optional_text(metadata.get("user_id"), "metadata.user_id"),
    )


def _wrong(where: str, what: str) -> RelayError:
    return RelayError("invalid_request", f"{where} must be {what}.", param=where)


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object")
    return value


def _optional(value: Any, where: str) -> dict[str, Any]:
    return {} if value is None else _object(value, where)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "a string")
    return value


def _optional_text(value: Any, where: str) -> str | None:
    return None if value is None else _text(value, where)


def _flag(value: Any, where: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise _wrong(where, "true or false")
    return value


def _number(fields: Fields, name: str) -> float | None:
    value = value_of(fields, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _wrong(name, "a number from 0 to 1")
    return float(value)


def _cache(block: dict[str, Any]) -> str | None:
    mark = block.get("cache_control")
    return None if not isinstance(mark, dict) else "1h" if mark.get("ttl") == "1h" else "5m"


def _tool_to_ir(value: Any, where: str) -> ir.Tool:
    tool = _object(value, where)
    if tool.get("type") not in (None, "custom"):
        raise ir.unsupported(f"{where}.type", _NOT_HERE)
    if tool.get("allowed_callers") not in (None, [], ["direct"]):
        raise ir.unsupported(f"{where}.allowed_callers", _NOT_HERE)
    return ir.Tool(
        name=_text(tool.get("name"), f"{where}.name"),
        description=_optional_text(tool.get("description"), f"{where}.description"),
        schema=_object(tool.get("input_schema"), f"{where}.input_schema"),
        strict=_flag(tool.get("strict"), f"{where}.strict"),
        cache=_cache(tool),
    )


_MODES: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none", "tool": "named"}
_CHOICES = {mode: name for name, mode in _MODES.items()}


def _choice_to_ir(choice: dict[str, Any]) -> tuple[ir.ToolChoice | None, bool | None]:
    if not choice:
        return None, None
    mode = _MODES.get(_text(choice.get("type"), "tool_choice.type"))
    if mode is None:
        raise ir.unsupported("tool_choice.type", _NOT_HERE)
    names = [_text(choice.get("name"), "tool_choice.name")] if mode == "named" else []
    single = _flag(choice.get("disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use")
    return ir.ToolChoice(mode, names), None if single is None else not single


def _output_to_ir(value: Any) -> ir.OutputFormat | None:
    output = _optional(value, "output_config.format")
    if not output:
        return None
    if output.get("type") != "json_schema":
        raise ir.unsupported("output_config.format.type", _NOT_HERE)
    return ir.OutputFormat(schema=_object(output.get("schema"), "output_config.format.schema"))


_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_SHOWN = {"summarized": True, "omitted": False, None: None}


def _thinking_to_ir(thinking: dict[str, Any], config: dict[str, Any]) -> ir.Thinking | None:
    effort = _optional_text(config.get("effort"), "output_config.effort")
    if effort is not None and effort not in _EFFORTS:
        raise _wrong("output_config.effort", f"one of {', '.join(_EFFORTS)}")
    if not thinking:
        return None if effort is None else ir.Thinking(effort)
    kind = thinking.get("type")
    if kind not in ("enabled", "adaptive", "disabled"):
        raise ir.unsupported("thinking.type", _NOT_HERE)
    shown = _optional_text(thinking.get("display"), "thinking.display")
    if shown not in _SHOWN:
        raise ir.unsupported("thinking.display", _NOT_HERE)
    budget = 0 if kind == "disabled" else None
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if isinstance(budget, bool) or not isinstance(budget, int) or not MIN_BUDGET <= budget <= MAX_CAP:
            raise _wrong("thinking.budget_tokens", f"a whole number of at least {MIN_BUDGET}")
    return ir.Thinking(effort, budget, _SHOWN[shown])


_TEXTS = frozenset({"text"})
_INPUT = frozenset({"text", "image", "document"})
_USER = _INPUT | {"tool_result"}
_ASSISTANT = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
_ROLES: dict[Any, tuple[ir.Role, frozenset[str]]] = {
    "system": ("system", _TEXTS),
    "user": ("user", _USER),
    "assistant": ("assistant", _ASSISTANT),
}


def _message_to_ir(value: Any, where: str, names: dict[str, str]) -> ir.Message:
    """A turn. `names`: tool calls so far → their tools' names."""
    message = _object(value, where)
    role, kinds = _ROLES.get(_text(message.get("role"), f"{where}.role"), (None, _TEXTS))
    if role is None:
        raise ir.unsupported(f"{where}.role", _NOT_HERE)
    parts = _blocks_to_ir(message.get("content"), f"{where}.content", kinds)
    for part in parts:
        if isinstance(part, ir.ToolCall):
            names[part.id] = part.name
        elif isinstance(part, ir.ToolResult):
            part.name = names.get(part.call_id)
    return ir.Message(role, parts)


def _blocks_to_ir(content: Any, where: str, kinds: frozenset[str]) -> list[ir.Part]:
    if isinstance(content, str):
        return [ir.Text(content)]
    if not isinstance(content, list):
        raise _wrong(where, "a string or a list")
    return [_block_to_ir(block, f"{where}[{number}]", kinds) for number, block in enumerate(content)]


def _block_to_ir(value: Any, where: str, kinds: frozenset[str]) -> ir.Part:
    block = _object(value, where)
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        raise ir.unsupported(f"{where}.type", _NOT_HERE)
    if kind == "text":
        return ir.Text(_text(block.get("text"), f"{where}.text"), _cache(block))
    if kind in ("image", "document"):
        return _media_to_ir(block, kind, where)
    if kind == "thinking":
        signature = _text(block.get("signature", ""), f"{where}.signature")
        thought = _text(block.get("thinking"), f"{where}.thinking")
        return ir.unseal(signature, thought) or ir.Reasoning(thought, "anthropic", signature or None)
    if kind == "redacted_thinking":
        data = _text(block.get("data"), f"{where}.data")
        return ir.unseal(data) or ir.Reasoning(origin="anthropic", redacted=data)
    if kind == "tool_use":
        return ir.ToolCall(
            _text(block.get("id"), f"{where}.id"),
            _text(block.get("name"), f"{where}.name"),
            _encode(_object(block.get("input"), f"{where}.input")).decode(),
        )
    content = block.get("content")
    return ir.ToolResult(
        _text(block.get("tool_use_id"), f"{where}.tool_use_id"),
        [] if content is None else _blocks_to_ir(content, f"{where}.content", _INPUT),  # type: ignore[arg-type]
        error=_flag(block.get("is_error"), f"{where}.is_error") or False,
        cache=_cache(block),
    )


def _media_to_ir(block: dict[str, Any], kind: str, where: str) -> ir.Part:
    source = _object(block.get("source"), f"{where}.source")
    url = data = media_type = None
    form = source.get("type")
    if form == "url":
        url = _text(source.get("url"), f"{where}.source.url")
    elif form == "base64" or (form == "text" and kind == "document"):
        data = _text(source.get("data"), f"{where}.source.data")
        media_type = _text(source.get("media_type"), f"{where}.source.media_type")
        if form == "text":
            data = base64.b64encode(data.encode("utf-8", "replace")).decode()
    else:
        raise ir.unsupported(f"{where}.source.type", _NOT_HERE)
    if kind == "image":
        return ir.Image(url, data, media_type, cache=_cache(block))
    citations = block.get("citations")
    if isinstance(citations, dict) and citations.get("enabled"):
        raise ir.unsupported(f"{where}.citations", _NOT_HERE)
    if block.get("context") is not None:
        raise ir.unsupported(f"{where}.context", _NOT_HERE)
    return ir.File(url, data, media_type, _optional_text(block.get("title"), f"{where}.title"), _cache(block))
