"""A request of `relay.protocols.ir` for an upstream that speaks OpenAI's Responses.

Source of the format: `ResponseCreateParams` of the openai 3.54 package.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.base import Target
from relay.protocols.data_urls import data_url
from relay.protocols.fields import no_deep_nesting
from relay.protocols.openai_parts import UNNAMED
from relay.protocols.responses.items import ORIGIN
from relay.protocols.responses.reasoning import may_reason, never_reasons
from relay.protocols.responses.to_ir import LOGPROBS

_WHERE = "OpenAI Responses"
# A budget in tokens → an effort: the most of each.
_BUDGETS = ((4_096, "low"), (16_384, "medium"))


def from_ir(request: ir.Request, target: Target) -> bytes:
    """The body for an upstream. Raises RelayError for what the dialect cannot express."""
    for refused, field in (
        (request.choices > 1, "n"),
        (request.stop, "stop"),
        (request.top_k is not None, "top_k"),
        (request.presence_penalty, "presence_penalty"),
        (request.frequency_penalty, "frequency_penalty"),
        (request.logit_bias, "logit_bias"),
    ):
        if refused:
            raise ir.unsupported(field, _WHERE)
    with no_deep_nesting():
        return msgspec.json.encode(_body(request, target))


def _body(request: ir.Request, target: Target) -> dict[str, Any]:
    messages = request.messages
    body: dict[str, Any] = {"model": target.model, "store": False}
    if messages and messages[0].role == "system" and messages[0].name is None and len(messages[0].parts) == 1:
        part = messages[0].parts[0]
        if isinstance(part, ir.Text):
            body["instructions"], messages = part.text, messages[1:]
    body["input"] = [item for message in messages for item in _items(message)]
    include = [LOGPROBS] if request.logprobs is not None else []
    thinking = None if never_reasons(target.model) else request.thinking
    if may_reason(target.model, thinking is not None):
        include.append("reasoning.encrypted_content")
    said: dict[str, Any] = {
        "stream": request.stream,
        "max_output_tokens": request.max_tokens if target.cap is None else target.cap,
        "tools": [_tool(tool) for tool in request.tools],
        "tool_choice": _choice(request),
        "text": _text(request),
        "reasoning": _reasoning(thinking),
        "include": include,
        "top_logprobs": request.logprobs,
        "user": request.user,
        "metadata": request.metadata,
        "prompt_cache_key": request.cache_key,
    }
    body |= {name: value for name, value in said.items() if value}
    for name, value in (
        ("parallel_tool_calls", request.parallel),
        ("temperature", request.temperature),
        ("top_p", request.top_p),
    ):
        if value is not None:
            body[name] = value
    return body


def _tool(tool: ir.Tool) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": "custom" if tool.custom else "function", "name": tool.name}
    if tool.description is not None:
        shape["description"] = tool.description
    if not tool.custom:
        # Without a word about it this dialect tries to be strict, where others are not.
        return {**shape, "parameters": tool.schema, "strict": bool(tool.strict)}
    return shape if tool.format is None else {**shape, "format": tool.format}


def _choice(request: ir.Request) -> str | dict[str, Any] | None:
    choice = request.tool_choice
    if choice is None:
        return None
    if choice.mode != "named":
        return choice.mode
    custom = {tool.name for tool in request.tools if tool.custom}
    named = [{"type": "custom" if name in custom else "function", "name": name} for name in choice.names]
    return named[0] if len(named) == 1 else {"type": "allowed_tools", "mode": "required", "tools": named}


def _text(request: ir.Request) -> dict[str, Any]:
    shape: dict[str, Any] = {}
    output = request.output
    if output is not None and output.schema is None:
        shape["format"] = {"type": "json_object"}
    elif output is not None:
        form = {"type": "json_schema", "name": output.name or "output", "schema": output.schema}
        said = {"strict": output.strict, "description": output.description}
        shape["format"] = {**form, **{name: value for name, value in said.items() if value is not None}}
    if request.verbosity is not None:
        shape["verbosity"] = request.verbosity
    return shape


def _reasoning(thinking: ir.Thinking | None) -> dict[str, Any]:
    if thinking is None or thinking.budget == 0:
        return {}  # not to think at all has no word that every model takes
    effort = thinking.effort
    if effort is None and thinking.budget is not None:
        effort = next((name for most, name in _BUDGETS if thinking.budget <= most), "high")
    shape = {"effort": effort, "summary": "auto" if thinking.show else None}
    return {name: value for name, value in shape.items() if value is not None}


def _items(message: ir.Message) -> list[dict[str, Any]]:
    """A message as items: what it says, in one item where nothing comes between, and the others one by one."""
    if message.name is not None:
        raise ir.unsupported("the name of a message", _WHERE)
    items: list[dict[str, Any]] = []
    content: list[dict[str, Any]] | None = None
    for part in message.parts:
        alone = _alone(part)
        if alone is not None:
            items += alone
            content = None
            continue
        if content is None:
            content = []
            items.append({"type": "message", "role": message.role, "content": content})
        content.append(_part(part, message.role))
    return items


def _alone(part: ir.Part) -> list[dict[str, Any]] | None:
    """The item of a part that is one; none for another maker's reasoning; None for a part of a message."""
    match part:
        case ir.ToolCall(custom=True):
            call = {"type": "custom_tool_call", "call_id": part.id, "name": part.name, "input": part.arguments}
            return [call]
        case ir.ToolCall():
            call = {"type": "function_call", "call_id": part.id, "name": part.name}
            return [{**call, "arguments": part.arguments or "{}"}]
        case ir.ToolResult():
            kind = "custom_tool_call_output" if part.custom else "function_call_output"
            return [{"type": kind, "call_id": part.call_id, "output": _result(part)}]
        case ir.Reasoning():
            return _thought(part)
    return None


def _result(part: ir.ToolResult) -> str | list[dict[str, Any]]:
    if not part.parts:
        return ""
    first = part.parts[0]
    if len(part.parts) == 1 and isinstance(first, ir.Text):
        return first.text
    return [_part(inner, "user") for inner in part.parts]


def _thought(part: ir.Reasoning) -> list[dict[str, Any]]:
    """Reasoning of this dialect's own: encrypted with its summary, or in the open."""
    if part.origin != ORIGIN:
        return []
    item: dict[str, Any] = {"type": "reasoning", "summary": []}
    if part.id is not None:
        item["id"] = part.id
    if part.redacted is None:
        return [{**item, "content": [{"type": "reasoning_text", "text": part.text}]}] if part.text else []
    if part.text:
        item["summary"] = [{"type": "summary_text", "text": part.text}]
    return [{**item, "encrypted_content": part.redacted}]


def _part(part: ir.Part, role: ir.Role) -> dict[str, Any]:
    match part:
        case ir.Text():
            return {"type": "output_text" if role == "assistant" else "input_text", "text": part.text}
        case ir.Refusal():
            return {"type": "refusal", "refusal": part.text}
        case ir.Image() if role != "assistant":
            url = data_url(part.media_type, part.data) if part.data is not None else part.url
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        case ir.File() if role != "assistant":
            return _file(part)
        case ir.Audio() if role != "assistant":
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
    raise ir.unsupported(f"{type(part).__name__.lower()} in a message of role {role}", _WHERE)


def _file(part: ir.File) -> dict[str, Any]:
    if part.data is None:
        return {"type": "input_file", "file_url": part.url, **({} if part.name is None else {"filename": part.name})}
    # A document that is sent along needs a name.
    data = data_url(part.media_type or "application/pdf", part.data)
    return {"type": "input_file", "file_data": data, "filename": part.name or UNNAMED}
