"""OpenAI Responses, a client's request as the neutral conversation.

A field that is neither in `Body` nor a hint cannot be converted, and is refused by its name.
"""

from __future__ import annotations

import mimetypes
from typing import Annotated, Any

import msgspec

from relay.protocols import ir
from relay.protocols.base import Request
from relay.protocols.data_urls import is_data_url, split_data_url
from relay.protocols.fields import MAX_CAP, no_deep_nesting, value_of
from relay.protocols.openai_parts import UNNAMED, choice_of, read_body, refuse_effort, refuse_others, some_of
from relay.protocols.plain_json import tier_of
from relay.protocols.responses.items import (
    ELSEWHERE,
    TEXT_TYPES,
    Item,
    Part,
    call_of,
    invalid,
    joined,
    reasoning_of,
    said,
)
from relay.protocols.responses.request import resolved

LOGPROBS = "message.output_text.logprobs"
# Fields that need no converting: hints, what the relay itself decides, and what bounds tools that only OpenAI runs.
_LEFT_OUT = frozenset(
    {
        *("model", "stream", "stream_options", "store", "background", "background_options", "max_tool_calls", "image"),
        *("prompt_cache_options", "prompt_cache_retention", "client_metadata", "access_programs", "seed"),
        "previous_response_id",
    }
)
# What a client may ask to see of tools and of images: nothing of it is in a converted answer.
_INCLUDES = frozenset(
    {
        *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources", LOGPROBS),
        *("message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs"),
        "reasoning.encrypted_content",
    }
)


class Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    mode: str | None = None


class Format(msgspec.Struct):
    type: str = "text"
    schema: dict[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None
    description: str | None = None


class Text(msgspec.Struct):
    format: Format | None = None
    verbosity: str | None = None


class Tool(msgspec.Struct):
    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: dict[str, Any] | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    tools: list[Tool] | None = None


class Choice(msgspec.Struct):
    type: str
    name: str | None = None
    mode: str | None = None
    tools: list[Tool] | None = None


class Body(msgspec.Struct):
    input: str | list[Item] | None = None
    instructions: str | None = None
    max_output_tokens: int | float | None = None  # read before, with its bounds
    temperature: float | None = None
    top_p: float | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Choice | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_CAP)] | None = None
    truncation: str | None = None
    service_tier: str | None = None
    context_management: list[Any] | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


_BODY = msgspec.json.Decoder(Body)
_KNOWN = _LEFT_OUT.union(Body.__struct_fields__)


def to_ir(request: Request) -> ir.Request:
    """A client's request. Raises RelayError: a field of the wrong kind, or one that cannot be converted."""
    resolved(request)
    with no_deep_nesting():
        return ir.normal(_request(request, _read(request)))


def _read(request: Request) -> Body:
    fields = request.fields
    refuse_others(fields, _KNOWN, ELSEWHERE)
    body = read_body(_BODY, fields)
    reasoning = body.reasoning or Reasoning()
    for refused, field in (
        (tier_of(fields), "service_tier"),
        (body.truncation not in (None, "disabled"), "truncation"),
        (body.context_management, "context_management"),
        (not _INCLUDES.issuperset(body.include or ()), "include"),
        (reasoning.mode not in (None, "standard"), "reasoning.mode"),
    ):
        if refused:
            raise ir.unsupported(field, ELSEWHERE)
    return body


def _request(request: Request, body: Body) -> ir.Request:
    text = body.text or Text()
    choice, tools = _tool_choice(body, _tools(body))
    logprobs = LOGPROBS in (body.include or ())
    return ir.Request(
        request.model,
        _messages(body),
        request.stream,
        tools,
        choice,
        body.parallel_tool_calls,
        _output(text.format),
        _thinking(body.reasoning),
        request.cap,
        temperature=body.temperature,
        top_p=body.top_p,
        logprobs=(body.top_logprobs or 0) if logprobs else None,
        user=body.safety_identifier or body.user,
        metadata=body.metadata or None,
        verbosity=text.verbosity,
        cache_key=body.prompt_cache_key,
    )


def _tools(body: Body) -> list[ir.Tool]:
    """The tools; those of a namespace have its name before their own."""
    found = []
    for number, tool in enumerate(body.tools or []):
        where = f"tools[{number}]"
        if tool.type != "namespace":
            found.append(_tool(tool, None, where))
            continue
        for place, inner in enumerate(tool.tools or []):
            found.append(_tool(inner, tool.name, f"{where}.tools[{place}]"))
    if len({tool.name for tool in found}) < len(found):
        raise invalid("tools must have names of their own.", "tools")
    return found


def _tool(tool: Tool, namespace: str | None, where: str) -> ir.Tool:
    if tool.type not in ("function", "custom"):
        raise ir.unsupported(f"{where}.type", ELSEWHERE)
    if not tool.name:
        raise invalid(f"{where} has no name.", "tools")
    if tool.defer_loading:
        raise ir.unsupported(f"{where}.defer_loading", ELSEWHERE)
    if tool.allowed_callers is not None and "direct" not in tool.allowed_callers:
        raise ir.unsupported(f"{where}.allowed_callers", ELSEWHERE)
    name = joined(namespace, tool.name)
    if tool.type == "function":
        return ir.Tool(name, tool.description, tool.parameters, tool.strict)
    return ir.Tool(name, tool.description, custom=True, format=tool.format)


def namespaces(request: Request) -> dict[str, tuple[str, str]]:
    """The tools of namespaces: the name without them → namespace and name."""
    tools = value_of(request.fields, "tools")
    found = {}
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict) or tool.get("type") != "namespace" or not isinstance(tool.get("name"), str):
            continue
        for inner in tool["tools"] if isinstance(tool.get("tools"), list) else ():
            name = inner.get("name") if isinstance(inner, dict) else None
            if isinstance(name, str):
                found[joined(tool["name"], name)] = (tool["name"], name)
    return found


def _tool_choice(body: Body, tools: list[ir.Tool]) -> tuple[ir.ToolChoice | None, list[ir.Tool]]:
    """What may be called, and of which tools."""
    choice = body.tool_choice
    if choice is None:
        return None, tools
    if isinstance(choice, str):
        return choice_of(choice), tools
    if choice.type in ("function", "custom") and choice.name:
        return ir.ToolChoice("named", [choice.name]), tools
    allowed = choice.tools or []
    names = [tool.name for tool in allowed if tool.type in ("function", "custom") and tool.name]
    if choice.type != "allowed_tools" or not names or len(names) < len(allowed):
        raise ir.unsupported("tool_choice", ELSEWHERE)
    return some_of(tools, names, required=choice.mode == "required")


def _output(form: Format | None) -> ir.OutputFormat | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return ir.OutputFormat()
    if form.type != "json_schema" or form.schema is None:
        raise ir.unsupported("text.format", ELSEWHERE)
    return ir.OutputFormat(form.schema, form.name, form.strict, form.description)


def _thinking(reasoning: Reasoning | None) -> ir.Thinking | None:
    if reasoning is None:
        return None
    if reasoning.effort is not None:
        refuse_effort(reasoning.effort, "reasoning.effort")
    shown = reasoning.summary or reasoning.generate_summary
    if reasoning.effort is None and not shown:
        return None
    return ir.Thinking(reasoning.effort, show=True if shown and shown != "none" else None)


def _messages(body: Body) -> list[ir.Message]:
    """The conversation: the instructions, then item by item. Results know the calls before them."""
    messages = [ir.Message("system", [ir.Text(body.instructions)])] if body.instructions else []
    if isinstance(body.input, str):
        return [*messages, ir.Message("user", [ir.Text(body.input)] if body.input else [])]
    calls: dict[str, ir.ToolCall] = {}
    for number, item in enumerate(body.input or []):
        message = _message(item, f"input[{number}]", calls)
        messages.append(message)
        calls.update({part.id: part for part in message.parts if isinstance(part, ir.ToolCall)})
    return messages


_ROLES: dict[str | None, ir.Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def _message(item: Item, where: str, calls: dict[str, ir.ToolCall]) -> ir.Message:
    kind = item.type or "message"
    if kind == "message":
        if item.role not in _ROLES:
            raise invalid(f"{where}.role is not a role.")
        role = _ROLES[item.role]
        return ir.Message(role, [*_parts(item.content, f"{where}.content", role)])
    if kind in ("function_call", "custom_tool_call"):
        return ir.Message("assistant", [call_of(item, where)])
    if kind in ("function_call_output", "custom_tool_call_output"):
        return ir.Message("user", [_result(item, where, calls)])
    if kind == "reasoning":
        return ir.Message("assistant", [reasoning_of(item)])
    raise ir.unsupported(f"{where}.type", ELSEWHERE)


def _result(item: Item, where: str, calls: dict[str, ir.ToolCall]) -> ir.ToolResult:
    if not item.call_id:
        raise invalid(f"{where}.call_id is missing.")
    if isinstance(item.output, dict):
        raise invalid(f"{where}.output must be a text or a list of parts.")
    call = calls.get(item.call_id)
    found = _parts(item.output, f"{where}.output", "user")
    parts = [part for part in found if isinstance(part, ir.Text | ir.Image | ir.File)]
    if len(parts) < len(found):
        raise ir.unsupported(f"{where}.output", ELSEWHERE)
    name = item.name if call is None else call.name
    return ir.ToolResult(item.call_id, parts, name, custom=item.type == "custom_tool_call_output")


def _parts(content: str | list[Part] | None, where: str, role: ir.Role) -> list[ir.Part]:
    """What a message says. Texts that say nothing are left out."""
    if isinstance(content, str):
        return [ir.Text(content)] if content else []
    found: list[ir.Part] = []
    for number, part in enumerate(content or []):
        read = said(part) if part.type in (*TEXT_TYPES, "refusal") else _medium(part, f"{where}[{number}]", role)
        if read is None:
            raise invalid(f"{where}[{number}] lacks its {part.type}.")
        if isinstance(read, ir.Text) and part.prompt_cache_breakpoint is not None:
            read.cache = "5m"
        if not isinstance(read, ir.Text | ir.Refusal) or read.text:
            found.append(read)
    return found


def _medium(part: Part, where: str, role: ir.Role) -> ir.Part | None:
    """A part that is not text; None where it lacks what its type promises."""
    cache = None if part.prompt_cache_breakpoint is None else "5m"
    if role == "assistant" or part.type not in ("input_image", "input_file", "input_audio"):
        raise ir.unsupported(f"{where}.type", ELSEWHERE)
    if part.type == "input_audio":
        audio = part.input_audio
        return None if audio is None else ir.Audio(audio.data, audio.format)
    if part.type == "input_image":
        return _image(part, cache)
    name = part.filename if part.filename != UNNAMED else None
    if part.file_data:
        split = (
            split_data_url(part.file_data) if is_data_url(part.file_data) else (_kind(part.filename), part.file_data)
        )
        return None if split is None else ir.File(None, split[1], split[0], name, cache)
    return ir.File(part.file_url, name=name, cache=cache) if part.file_url else None


def _image(part: Part, cache: str | None) -> ir.Image | None:
    if not part.image_url:
        return None
    # "auto" is what an image without a detail has; "original" is OpenAI's alone.
    detail = {"auto": None, "original": "high"}.get(part.detail or "auto", part.detail)
    if not is_data_url(part.image_url):
        return ir.Image(part.image_url, detail=detail, cache=cache)
    split = split_data_url(part.image_url)
    return None if split is None else ir.Image(None, split[1], split[0], detail, cache)


def _kind(name: str | None) -> str:
    """The media type of a document that comes without one."""
    return mimetypes.guess_type(name or "")[0] or "application/pdf"
