"""OpenAI chat completions, a client's request as the neutral conversation.

A field that is not in `relay.protocols.chat.types.Body` cannot be converted, and is refused by its name.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.base import Request
from relay.protocols.chat import reasoning
from relay.protocols.chat.types import Body, Content, File, Format, Function, ImageUrl, Message, Part
from relay.protocols.data_urls import is_data_url, split_data_url
from relay.protocols.fields import no_deep_nesting
from relay.protocols.openai_parts import UNNAMED, choice_of, read_body, refuse_effort, refuse_others, some_of
from relay.protocols.plain_json import tier_of

ELSEWHERE = "it speaks another format than chat completions"
# Fields that need no converting: hints, and what the relay itself decides.
_LEFT_OUT = frozenset(
    {"model", "stream", "stream_options", "store", "service_tier", "prompt_cache_options", "prompt_cache_retention"}
)
_KNOWN = _LEFT_OUT.union(Body.__struct_fields__)

_BODY = msgspec.json.Decoder(Body)


def to_ir(request: Request) -> ir.Request:
    """A client's request. Raises RelayError: a field of the wrong kind, or one that cannot be converted."""
    with no_deep_nesting():
        return ir.normal(_request(request, _read(request)))


def _read(request: Request) -> Body:
    fields = request.fields
    refuse_others(fields, _KNOWN, ELSEWHERE)
    if tier_of(fields):
        raise ir.unsupported("service_tier", ELSEWHERE)
    body = read_body(_BODY, fields)
    if set(body.modalities or ["text"]) != {"text"}:
        raise ir.unsupported("modalities", ELSEWHERE)
    return body


def _invalid(message: str, field: str | None) -> RelayError:
    return RelayError("invalid_request", message, param=field)


def _request(request: Request, body: Body) -> ir.Request:
    tools = _tools(body)
    choice, tools = _tool_choice(body, tools)
    return ir.Request(
        request.model,
        _Messages(body.messages).read(),
        request.stream,
        tools,
        choice,
        # The old `function_call` holds one call.
        False if body.functions and not body.tools else body.parallel_tool_calls,
        _output(body.response_format),
        _thinking(body),
        request.cap,
        request.choices,
        body.temperature,
        body.top_p,
        body.top_k,
        body.seed,
        [word for word in ([body.stop] if isinstance(body.stop, str) else body.stop or []) if word],
        body.presence_penalty,
        body.frequency_penalty,
        body.logit_bias or None,
        (body.top_logprobs or 0) if body.logprobs else None,
        body.safety_identifier or body.user,
        body.metadata or None,
        body.verbosity,
        body.prompt_cache_key,
    )


class _Messages:
    """Reads messages in order: results know the calls before them."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        self._calls: dict[str, ir.ToolCall] = {}
        # Calls of the old kind have no ids: the last of each name is the one that is answered.
        self._old: dict[str, str] = {}

    def read(self) -> list[ir.Message]:
        """The conversation."""
        return [self._message(message, f"messages[{number}]") for number, message in enumerate(self._messages)]

    def _message(self, message: Message, where: str) -> ir.Message:
        role = message.role
        if role in ("system", "developer"):
            return ir.Message("system", _parts(message.content, where, ("text",)), message.name)
        if role == "user":
            return ir.Message("user", _parts(message.content, where), message.name)
        if role == "assistant":
            return ir.Message("assistant", self._turn(message, where), message.name)
        if role == "tool":
            if not message.tool_call_id:
                raise _invalid(f"{where}.tool_call_id is missing.", "messages")
            return ir.Message("user", [self._result(message, message.tool_call_id, where)])
        if role == "function":
            return ir.Message("user", [self._result(message, self._old.get(message.name or "", ""), where)])
        raise _invalid(f"{where}.role is not a role.", "messages")

    def _turn(self, message: Message, where: str) -> list[ir.Part]:
        said = {name: getattr(message, name) for name in ("reasoning_content", "reasoning", "reasoning_details")}
        parts: list[ir.Part] = [*reasoning.read(said, upstream=False)]
        parts += _parts(message.content, where, ("text", "refusal"))
        if message.refusal:
            parts.append(ir.Refusal(message.refusal))
        for call in message.tool_calls or []:
            called = call.function or call.custom
            if called is None:
                raise ir.unsupported(f"{where}.tool_calls", ELSEWHERE)
            custom = call.function is None
            text = called.input if custom else called.arguments
            parts.append(self._called(call.id or f"call_{len(self._calls)}", called.name, text or "", custom))
        if message.function_call is not None:
            old = message.function_call
            id = self._old[old.name] = f"call_{len(self._calls)}"
            parts.append(self._called(id, old.name, old.arguments or "", False))
        return parts

    def _called(self, id: str, name: str, arguments: str, custom: bool) -> ir.ToolCall:
        self._calls[id] = ir.ToolCall(id, name, arguments, custom)
        return self._calls[id]

    def _result(self, message: Message, id: str, where: str) -> ir.ToolResult:
        call = self._calls.get(id)
        parts = _parts(message.content, where, ("text", "image_url", "file"))
        found = [part for part in parts if isinstance(part, ir.Text | ir.Image | ir.File)]
        name = call.name if call is not None else message.name
        return ir.ToolResult(id, found, name, custom=call is not None and call.custom)


_USER = ("text", "image_url", "input_audio", "file")


def _parts(content: Content, where: str, allowed: tuple[str, ...] = _USER) -> list[ir.Part]:
    """What a message says. Texts that say nothing are left out."""
    if not isinstance(content, list):
        content = [] if content is None else [content]
    found: list[ir.Part] = []
    for number, part in enumerate(content):
        if isinstance(part, str):
            part = Part("text", part)
        if part.type not in allowed:
            raise ir.unsupported(f"{where}.content[{number}].type", ELSEWHERE)
        read = _part(part)
        if read is None:
            raise _invalid(f"{where}.content[{number}] lacks its {part.type}.", "messages")
        if not isinstance(read, ir.Text | ir.Refusal) or read.text:
            found.append(read)
    return found


def _part(part: Part) -> ir.Part | None:
    """One part; None where it lacks what its type promises."""
    cache = _mark(part.cache_control or part.prompt_cache_breakpoint)
    if part.type == "text" and part.text is not None:
        return ir.Text(part.text, cache)
    if part.type == "refusal" and part.refusal is not None:
        return ir.Refusal(part.refusal)
    if part.type == "input_audio" and part.input_audio is not None:
        return ir.Audio(part.input_audio.data, part.input_audio.format)
    if part.type == "image_url" and part.image_url is not None:
        image = ImageUrl(part.image_url) if isinstance(part.image_url, str) else part.image_url
        if not is_data_url(image.url):
            return ir.Image(image.url, detail=image.detail, cache=cache)
        split = split_data_url(image.url)
        return ir.Image(None, split[1], split[0], image.detail, cache) if split else None
    if part.type == "file" and part.file is not None and part.file.file_data:
        return _file(part.file, part.file.file_data, cache)
    return None


def _file(file: File, data: str, cache: str | None) -> ir.File | None:
    """A document: OpenRouter takes a URL where OpenAI takes base64, with or without `data:`."""
    name = file.filename if file.filename != UNNAMED else None
    if data[:8].lower().startswith(("http://", "https://")):
        return ir.File(data, name=name, cache=cache)
    split = split_data_url(data) if is_data_url(data) else ("application/pdf", data)
    return ir.File(None, split[1], split[0], name, cache) if split else None


def _mark(given: dict[str, Any] | None) -> str | None:
    """A cache mark. Always the short one: no price of an hour's was asked for."""
    return "5m" if given else None


def _tools(body: Body) -> list[ir.Tool]:
    found = [_tool(function, None) for function in body.functions or []]
    for number, tool in enumerate(body.tools or []):
        inside = tool.function if tool.type == "function" else tool.custom
        if inside is None:
            raise _invalid(f"tools[{number}] lacks its {tool.type}.", "tools")
        if tool.type == "function":
            found.append(_tool(inside, _mark(tool.cache_control)))
        else:
            form = inside.format
            if form is not None and isinstance(grammar := form.get("grammar"), dict):
                form = {"type": "grammar", "syntax": grammar.get("syntax"), "definition": grammar.get("definition")}
            found.append(ir.Tool(inside.name, inside.description, custom=True, format=form))
    return found


def _tool(function: Function, cache: str | None) -> ir.Tool:
    return ir.Tool(function.name, function.description, function.parameters, function.strict, cache=cache)


def _tool_choice(body: Body, tools: list[ir.Tool]) -> tuple[ir.ToolChoice | None, list[ir.Tool]]:
    """What may be called, and of which tools."""
    choice = body.tool_choice if body.tool_choice is not None else body.function_call
    if choice is None:
        return None, tools
    if isinstance(choice, Function):
        return ir.ToolChoice("named", [choice.name]), tools
    if isinstance(choice, str):
        return choice_of(choice), tools
    named = choice.function or choice.custom
    if named is not None:
        return ir.ToolChoice("named", [named.name]), tools
    allowed = choice.allowed_tools
    if allowed is None:
        raise ir.unsupported("tool_choice", ELSEWHERE)
    inside = [tool.function or tool.custom for tool in allowed.tools]
    names = [tool.name for tool in inside if tool is not None]
    if not names or len(names) < len(inside):
        raise ir.unsupported("tool_choice", ELSEWHERE)
    return some_of(tools, names, required=allowed.mode == "required")


def _output(form: Format | None) -> ir.OutputFormat | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return ir.OutputFormat()
    schema = form.json_schema
    if form.type != "json_schema" or schema is None:
        raise ir.unsupported("response_format", ELSEWHERE)
    return ir.OutputFormat(schema.schema, schema.name, schema.strict, schema.description)


def _thinking(body: Body) -> ir.Thinking | None:
    """OpenAI's field first, then OpenRouter's, then the others'."""
    said, show = body.reasoning, None
    if said is not None and said.exclude is not None:
        show = not said.exclude
    effort = body.reasoning_effort or (said.effort if said is not None else None)
    if effort is not None:
        refuse_effort(effort, "reasoning_effort" if body.reasoning_effort else "reasoning")
        return ir.Thinking(effort, show=show)
    if said is not None:
        return ir.Thinking(budget=0 if said.enabled is False else said.max_tokens, show=show)
    if body.thinking is not None:
        return ir.Thinking(budget=0 if body.thinking.type == "disabled" else body.thinking.budget_tokens)
    if body.enable_thinking is not None:
        return ir.Thinking(budget=None if body.enable_thinking else 0)
    return None
