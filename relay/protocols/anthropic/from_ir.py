"""A request of `relay.protocols.ir` for an upstream that speaks Anthropic's Messages.

Source of the format: `MessageCreateParams` of the anthropic 2.12 package. `temperature`, `top_p` and `top_k` are fields
of API version 2023-06-01, which 2026-10-21 took out.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.anthropic.to_ir import MIN_BUDGET
from relay.protocols.base import Target
from relay.protocols.fields import no_deep_nesting

_encode = msgspec.json.encode
_WHERE = "Anthropic"
_ID = re.compile(r"[a-zA-Z0-9_-]+")


def tool_id(call_id: str) -> str:
    """A tool call's id, as Anthropic allows them: the same for a call and its result."""
    return ir.called(call_id, _ID, "toolu_")


def from_ir(request: ir.Request, target: Target) -> bytes:
    """The body for an upstream. Raises RelayError for what Anthropic cannot express."""
    refuse(request, _WHERE)
    with no_deep_nesting():
        return _encode(_body(request, target))


def refuse(request: ir.Request, where: str) -> None:
    """Refuse what neither Anthropic nor, as Claude's other host, Bedrock can express. Raises RelayError."""
    for refused, field in (
        (request.choices > 1, "n"),
        (request.presence_penalty, "presence_penalty"),
        (request.frequency_penalty, "frequency_penalty"),
        (request.logit_bias, "logit_bias"),
        (request.logprobs is not None, "logprobs"),
        ((request.temperature or 0) > 1, "a temperature above 1"),
        (request.output is not None and request.output.schema is None, "JSON output without a schema"),
    ):
        if refused:
            raise ir.unsupported(field, where)


def _body(request: ir.Request, target: Target) -> dict[str, Any]:
    cap = request.max_tokens if target.cap is None else target.cap
    max_tokens = target.default_cap if cap is None else cap
    body: dict[str, Any] = {"model": target.model, "max_tokens": max_tokens}
    prompts = [part for message in request.messages if message.role == "system" for part in message.parts]
    system = [block for part in prompts if (block := _system(part)) is not None]
    if system:
        body["system"] = system
    body["messages"] = _messages(request.messages)
    if request.tools:
        body["tools"] = [_tool(tool, number) for number, tool in enumerate(request.tools)]
    choice = _choice(request)
    if choice:
        body["tool_choice"] = choice
    thinking = request.thinking
    if thinking is not None:
        shape = thinking_of(thinking, max_tokens)
        if shape and not (shape["type"] == "enabled" and _goes_on_unthinking(body["messages"])):
            body["thinking"] = shape
    config: dict[str, Any] = {}
    if thinking is not None and thinking.effort not in (None, "none"):
        config["effort"] = "low" if thinking.effort == "minimal" else thinking.effort
    if request.output is not None:
        config["format"] = {"type": "json_schema", "schema": request.output.schema}
    for name, value in (
        ("output_config", config),
        ("stop_sequences", request.stop),
        ("stream", request.stream),
        ("metadata", {"user_id": request.user} if request.user is not None else None),
    ):
        if value:
            body[name] = value
    for name in ("temperature", "top_p", "top_k"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    return body


def thinking_of(thinking: ir.Thinking, max_tokens: int) -> dict[str, Any] | None:
    """How to think, or None where there is no room for a thought."""
    if thinking.budget == 0 or thinking.effort == "none":
        return {"type": "disabled"}
    shape: dict[str, Any] = {"type": "adaptive"}
    if thinking.budget is not None:
        if max_tokens <= MIN_BUDGET:
            return None
        # A budget is less than what it is a part of.
        shape = {"type": "enabled", "budget_tokens": max(MIN_BUDGET, min(thinking.budget, max_tokens - 1))}
    if thinking.show is not None:
        shape["display"] = "summarized" if thinking.show else "omitted"
    return shape


def _goes_on_unthinking(messages: list[dict[str, Any]]) -> bool:
    """Whether a turn goes on, after its tools' results, that does not begin with a thought of Claude's own: it began
    elsewhere, or the client lost it. A budget for thinking is refused then; adaptive thinking is not."""
    if len(messages) < 2 or messages[-1]["content"][0]["type"] != "tool_result":
        return False
    return messages[-2]["content"][0]["type"] not in ("thinking", "redacted_thinking")


def _marked(block: dict[str, Any], cache: str | None) -> dict[str, Any]:
    """A block with its cache mark."""
    if cache is not None:
        block["cache_control"] = {"type": "ephemeral", "ttl": "1h"} if cache == "1h" else {"type": "ephemeral"}
    return block


def _tool(tool: ir.Tool, number: int) -> dict[str, Any]:
    if tool.custom:
        raise ir.unsupported(f"tools[{number}].type", _WHERE)
    shape: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        shape["description"] = tool.description
    shape["input_schema"] = {"type": "object", "properties": {}} if tool.schema is None else tool.schema
    if tool.strict is not None:
        shape["strict"] = tool.strict
    return _marked(shape, tool.cache)


_CHOICES = {"auto": "auto", "required": "any", "none": "none", "named": "tool"}


def _choice(request: ir.Request) -> dict[str, Any] | None:
    choice, parallel = request.tool_choice, request.parallel
    if choice is None:
        if parallel is None or not request.tools:
            return None
        choice = ir.ToolChoice("auto")
    if not request.tools and choice.mode in ("auto", "none"):
        return None
    shape: dict[str, Any] = {"type": _CHOICES[choice.mode]}
    if choice.mode == "named":
        if len(choice.names) != 1:
            raise ir.unsupported("tool_choice of several tools", _WHERE)
        shape["name"] = choice.names[0]
    if parallel is not None and choice.mode != "none":
        shape["disable_parallel_tool_use"] = not parallel
    return shape


def _messages(messages: list[ir.Message]) -> list[dict[str, Any]]:
    """The turns: neighbours of one role joined, and in each of the user's the results of tools first."""
    turns: list[tuple[str, list[ir.Part]]] = []
    for message in messages:
        if message.role == "system":
            continue
        if not turns or turns[-1][0] != message.role:
            turns.append((message.role, []))
        turns[-1][1].extend(message.parts)
    found = []
    for role, parts in turns:
        parts.sort(key=lambda part: role == "user" and not isinstance(part, ir.ToolResult))
        content = [block for part in parts if (block := _block(part)) is not None]
        if content:
            found.append({"role": role, "content": content})
    return found


def _block(part: ir.Part) -> dict[str, Any] | None:
    """A block; None for what says nothing, and for another maker's reasoning."""
    match part:
        case ir.Text():
            return _text(part.text, part.cache)
        case ir.Refusal():
            return _text(part.text)
        case ir.Image():
            return _marked({"type": "image", "source": _image_source(part)}, part.cache)
        case ir.File():
            block = {"type": "document", "source": _file_source(part)}
            return _marked(block if part.name is None else {**block, "title": part.name}, part.cache)
        case ir.Reasoning():
            return _reasoning(part)
        case ir.ToolCall():
            return _call(part)
        case ir.ToolResult():
            return _result(part)
    raise ir.unsupported("input_audio", _WHERE)


def _text(text: str, cache: str | None = None) -> dict[str, Any] | None:
    """A block of text; None for nothing but white space, which Anthropic refuses."""
    return _marked({"type": "text", "text": text}, cache) if text.strip() else None


def _system(part: ir.Part) -> dict[str, Any] | None:
    if not isinstance(part, ir.Text):
        raise ir.unsupported("a system message that is not text", _WHERE)
    return _text(part.text, part.cache)


def _image_source(part: ir.Image) -> dict[str, Any]:
    if part.data is None:
        return {"type": "url", "url": part.url}
    if part.media_type is None:
        raise ir.unsupported("an image without a media type", _WHERE)
    return {"type": "base64", "media_type": part.media_type, "data": part.data}


def _file_source(part: ir.File) -> dict[str, Any]:
    kind = part.media_type or ""
    if part.data is None and kind in ("", "application/pdf"):
        return {"type": "url", "url": part.url}
    if part.data is not None and kind == "application/pdf":
        return {"type": "base64", "media_type": kind, "data": part.data}
    if part.data is not None and kind.startswith("text/"):
        try:
            text = base64.b64decode(part.data, validate=True).decode()
        except (binascii.Error, ValueError):
            raise ir.unsupported("a text file that is not base64 of UTF-8", _WHERE) from None
        return {"type": "text", "media_type": "text/plain", "data": text}
    raise ir.unsupported(f"a file of type {kind or 'unknown'}", _WHERE)


def _reasoning(part: ir.Reasoning) -> dict[str, Any] | None:
    """Claude's own thoughts: Anthropic signs them alike, wherever Claude runs."""
    if part.origin not in ("anthropic", "bedrock"):
        return None
    if part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    if part.signature is None:
        return None  # refused as not Claude's own
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _call(part: ir.ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": input_of(part, _WHERE)}


def input_of(part: ir.ToolCall, where: str) -> msgspec.Raw:
    """A call's arguments as both of Claude's hosts want them: an object. Raises RelayError."""
    if part.custom:
        raise ir.unsupported("a call of a custom tool", where)
    written = part.arguments or "{}"
    try:
        arguments = msgspec.json.decode(written)
    except (msgspec.DecodeError, UnicodeDecodeError):
        arguments = None
    if not isinstance(arguments, dict):
        raise ir.unsupported("a tool call whose arguments are not a JSON object", where)
    # As it was written: a number may be beyond every type.
    return msgspec.Raw(written.encode())


def _result(part: ir.ToolResult) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": tool_id(part.call_id)}
    content = [shape for inner in part.parts if (shape := _block(inner)) is not None]
    if content:
        block["content"] = content
    if part.error:
        block["is_error"] = True
    return _marked(block, part.cache)
