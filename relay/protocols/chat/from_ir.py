"""OpenAI chat completions, the neutral conversation as a request for an upstream.

Sources: the request types of the openai 3.54 package, and what servers of this dialect are known to refuse. So texts
alone are one string, for some servers know no lists of parts there; and hints about the end user or a cache, which some
refuse (OpenAI `metadata` that is not stored, and a `user` beyond 64 characters), are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.base import Target
from relay.protocols.chat import reasoning
from relay.protocols.data_urls import data_url
from relay.protocols.fields import no_deep_nesting
from relay.protocols.openai_parts import UNNAMED
from relay.protocols.responses.reasoning import never_reasons

HERE = "chat completions"
# An effort for a budget of fewer tokens than these.
_EFFORTS = ((4_096, "low"), (16_384, "medium"))
# What a schema without a name is called: OpenAI wants one.
_SCHEMA = "response"
# What a tool's result says of its images.
_FOLLOWS = "[What this tool call showed follows in the next message.]"


def from_ir(request: ir.Request, target: Target) -> bytes:
    """The body for an upstream. Raises RelayError for what it cannot express."""
    try:
        with no_deep_nesting():
            return msgspec.json.encode(_known(**_body(request, target)))
    except OverflowError as error:
        raise RelayError("invalid_request", "A number in the body has more than 64 bits.") from error


def _body(request: ir.Request, target: Target) -> dict[str, Any]:
    custom = frozenset(tool.name for tool in request.tools if tool.custom)
    return {
        "model": target.model,
        "messages": [said for message in _placed(request.messages, target) for said in _messages(message)],
        "stream": request.stream or None,
        "stream_options": {"include_usage": True} if request.stream else None,
        "store": False if target.stores else None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice, custom) if request.tools else None,
        "parallel_tool_calls": request.parallel if request.tools else None,
        "response_format": _format(request.output),
        "reasoning_effort": None if never_reasons(target.model) else _effort(request.thinking),
        target.cap_field: request.max_tokens if target.cap is None else target.cap,
        "n": request.choices if request.choices > 1 else None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        "stop": request.stop or None,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "logit_bias": request.logit_bias,
        "logprobs": True if request.logprobs is not None else None,
        "top_logprobs": request.logprobs or None,
        "verbosity": request.verbosity,
    }


def _placed(messages: list[ir.Message], target: Target) -> list[ir.Message]:
    """The turns with system messages where the server takes them: OpenAI anywhere, others only at the very beginning.

    Templates of open models refuse them elsewhere, so a later one goes into the user's turn, marked as not the user's.
    """
    if target.stores:
        return messages
    placed: list[ir.Message] = []
    folded = False
    for message in messages:
        last = placed[-1] if placed else None
        fold = message.role == "system" and last is not None and last.role != "system"
        parts = _reminders(message.parts) if fold else message.parts
        role: ir.Role = "user" if fold else message.role
        system = role == "system" and last is not None
        if last is not None and (system or ((fold or folded) and role == last.role)):
            placed[-1] = ir.Message(role, [*last.parts, *parts], last.name)
        else:
            placed.append(ir.Message(role, parts, message.name))
        folded = fold
    return placed


def _reminders(parts: list[ir.Part]) -> list[ir.Part]:
    """A system message in the words in which coding agents put one to a model as the user's."""
    return [ir.Text(f"<system-reminder>\n{_content(parts, 'a system message', (ir.Text,))}\n</system-reminder>")]


def _messages(message: ir.Message) -> list[dict[str, Any]]:
    """A turn as chat has it: results of tools are messages of their own, and come first.

    Those are text alone, so their images and documents follow in the user's message, each under its call's id.
    """
    if message.role == "assistant":
        return [_named(message, _assistant(message.parts))]
    if message.role == "system":
        return [_named(message, {"role": "system", "content": _content(message.parts, "a system message", (ir.Text,))})]
    results = [part for part in message.parts if isinstance(part, ir.ToolResult)]
    found = [{"role": "tool", "tool_call_id": part.call_id, "content": _result(part)} for part in results]
    said = [shown for result in results for shown in _shown(result)]
    said += [part for part in message.parts if not isinstance(part, ir.ToolResult)]
    if said:
        found.append(_named(message, {"role": "user", "content": _content(said, "a user message", _USER)}))
    return found


def _named(message: ir.Message, said: dict[str, Any]) -> dict[str, Any]:
    return {**said, "name": message.name} if message.name is not None else said


_USER = (ir.Text, ir.Image, ir.Audio, ir.File)


def _content(parts: Sequence[ir.Part], where: str, allowed: tuple[type, ...]) -> str | list[dict[str, Any]]:
    """A message's content: texts alone as one string."""
    for part in parts:
        if not isinstance(part, allowed):
            raise ir.unsupported(f"{_KINDS[type(part)]} in {where}", HERE)
    texts = [part.text for part in parts if isinstance(part, ir.Text)]
    return "\n\n".join(texts) if len(texts) == len(parts) else [_part(part) for part in parts]


_KINDS = {
    ir.Text: "text",
    ir.Image: "an image",
    ir.Audio: "audio",
    ir.File: "a document",
    ir.Reasoning: "reasoning",
    ir.ToolCall: "a tool call",
    ir.Refusal: "a refusal",
    ir.ToolResult: "a tool result",
}


def _part(part: ir.Part) -> dict[str, Any]:
    if isinstance(part, ir.Image):
        url = part.url if part.url is not None else data_url(part.media_type, part.data or "")
        return {"type": "image_url", "image_url": _known(url=url, detail=part.detail)}
    if isinstance(part, ir.Audio):
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
    if isinstance(part, ir.File):
        if part.data is None:
            raise ir.unsupported("a document's URL", HERE)
        file = {"filename": part.name or UNNAMED, "file_data": data_url(part.media_type, part.data)}
        return {"type": "file", "file": file}
    assert isinstance(part, ir.Text)
    return {"type": "text", "text": part.text}


def _result(result: ir.ToolResult) -> str:
    """What a tool answered. That it failed has no field here: its words say so."""
    texts = [part.text for part in result.parts if isinstance(part, ir.Text)]
    return "\n\n".join([*texts, _FOLLOWS] if len(texts) < len(result.parts) else texts)


def _shown(result: ir.ToolResult) -> list[ir.Part]:
    """What a tool answered beside text, and whose answer it is."""
    media: list[ir.Part] = [part for part in result.parts if not isinstance(part, ir.Text)]
    return [ir.Text(f"[From the result of tool call {result.call_id}:]"), *media] if media else []


def _assistant(parts: list[ir.Part]) -> dict[str, Any]:
    """A model's turn: chat knows one order of parts. Reasoning comes back only to the dialect that made it."""
    for part in parts:
        if isinstance(part, ir.Image | ir.Audio | ir.File | ir.ToolResult):
            raise ir.unsupported(f"{_KINDS[type(part)]} in an assistant message", HERE)
    said: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(part.text for part in parts if isinstance(part, ir.Text)) or None,
    }
    refusal = "".join(part.text for part in parts if isinstance(part, ir.Refusal))
    calls = [call(part) for part in parts if isinstance(part, ir.ToolCall)]
    thoughts = [part for part in parts if isinstance(part, ir.Reasoning) and reasoning.is_own(part.origin)]
    if refusal:
        said["refusal"] = refusal
    if calls:
        said["tool_calls"] = calls
    if any(part.signature or part.redacted for part in thoughts):
        said["reasoning_details"] = [e for number, part in enumerate(thoughts) for e in reasoning.entries(part, number)]
    elif thoughts:
        said["reasoning_content"] = "".join(part.text for part in thoughts)
    return said


def call(part: ir.ToolCall) -> dict[str, Any]:
    """A call of a tool, in a request or an answer."""
    if part.custom:
        return {"id": part.id, "type": "custom", "custom": {"name": part.name, "input": part.arguments}}
    return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments or "{}"}}


def _tool(tool: ir.Tool) -> dict[str, Any]:
    if tool.custom:
        form = tool.format
        if form is not None and form.get("type") == "grammar":
            form = {"type": "grammar", "grammar": {name: form.get(name) for name in ("syntax", "definition")}}
        return {"type": "custom", "custom": _known(name=tool.name, description=tool.description, format=form)}
    said = _known(name=tool.name, description=tool.description, parameters=tool.schema, strict=tool.strict)
    return {"type": "function", "function": said}


def _known(**said: Any) -> dict[str, Any]:
    """What there is something to say of."""
    return {name: value for name, value in said.items() if value is not None}


def _tool_choice(choice: ir.ToolChoice | None, custom: frozenset[str]) -> str | dict[str, Any] | None:
    if choice is None or choice.mode != "named":
        return choice.mode if choice is not None else None
    kinds = ["custom" if name in custom else "function" for name in choice.names]
    tools = [{"type": kind, kind: {"name": name}} for kind, name in zip(kinds, choice.names, strict=True)]
    if len(tools) == 1:
        return tools[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools}}


def _format(output: ir.OutputFormat | None) -> dict[str, Any] | None:
    if output is None:
        return None
    if output.schema is None:
        return {"type": "json_object"}
    schema = _known(
        name=output.name or _SCHEMA, description=output.description, schema=output.schema, strict=output.strict
    )
    return {"type": "json_schema", "json_schema": schema}


def _effort(thinking: ir.Thinking | None) -> str | None:
    """How much to think; of a budget, the effort it comes nearest to. Not to think at all has no word that every
    model takes (many refuse "none"), so a budget of nothing is left to the model."""
    if thinking is None or thinking.budget == 0:
        return None
    if thinking.effort is not None or thinking.budget is None:
        return thinking.effort
    return next((effort for below, effort in _EFFORTS if thinking.budget < below), "high")
