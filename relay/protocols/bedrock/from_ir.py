"""A request of `relay.protocols.ir` for Amazon Bedrock's Converse.

Source of the format: `ConverseRequest` of botocore 1.44 (`bedrock-runtime/2023-09-30`). What Converse has no field for,
a model's maker may have: `additionalModelRequestFields` are Claude's, Nova's or gpt-oss's own, as the guides of Bedrock
("Model parameters") and Nova ("Using reasoning") name them. Which of them a model is, its name says: its id there, or
where that is an opaque ARN, the name that clients use.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.anthropic.from_ir import input_of, refuse, thinking_of
from relay.protocols.base import Target
from relay.protocols.fields import MAX_CAP, no_deep_nesting

_encode = msgspec.json.encode
_WHERE = "Bedrock"
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_FAMILIES = ("claude", "nova", "gpt-oss")
_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_OFFICE = "application/vnd.openxmlformats-officedocument."
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    f"{_OFFICE}wordprocessingml.document": "docx",
    f"{_OFFICE}spreadsheetml.sheet": "xlsx",
}
_AUDIO = frozenset({"mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga"})


def tool_id(call_id: str) -> str:
    """A tool call's id, as every model there allows them: the same for a call and its result."""
    return ir.called(call_id, _ID, "tooluse_")


def from_ir(request: ir.Request, target: Target) -> bytes:
    """The body for an upstream; its URL has the model. Raises RelayError for what Converse cannot express."""
    refuse(request, _WHERE)
    if request.tools and request.parallel is False:
        raise ir.unsupported("parallel_tool_calls: false", _WHERE)
    with no_deep_nesting():
        return _encode(_body(request, target))


def _body(request: ir.Request, target: Target) -> dict[str, Any]:
    named = f"{target.model} {request.model}".lower()
    family = next((name for name in _FAMILIES if name in named), "")
    cap = request.max_tokens if target.cap is None else target.cap
    writer = _Writer(family == "claude")
    inference = {
        "maxTokens": cap,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": request.stop or None,
    }
    more, effort = _thinking(request.thinking, family, MAX_CAP if cap is None else cap)
    if request.top_k is not None:
        more |= {"inferenceConfig": {"topK": request.top_k}} if family == "nova" else {"top_k": request.top_k}
    output: dict[str, Any] = {} if effort is None else {"effort": effort}
    if request.output is not None:
        output["textFormat"] = _format(request.output)
    messages = writer.messages(request.messages)
    if more.get("thinking", {}).get("type") == "enabled" and _goes_on_unthinking(messages):
        del more["thinking"]
    body = {
        "system": writer.system(request.messages),
        "messages": messages,
        "inferenceConfig": {name: value for name, value in inference.items() if value is not None},
        "toolConfig": _tools(request, writer),
        "outputConfig": output,
        "additionalModelRequestFields": more,
        # Which stop sequence was met, Claude says only when asked.
        "additionalModelResponseFieldPaths": ["/stop_sequence"] if request.stop and writer.claude else None,
    }
    return {name: value for name, value in body.items() if value or name == "messages"}


def _goes_on_unthinking(messages: list[dict[str, Any]]) -> bool:
    """Whether a turn goes on, after its tools' results, that does not begin with a thought: Claude refuses a budget."""
    if len(messages) < 2 or "toolResult" not in messages[-1]["content"][0]:
        return False
    return "reasoningContent" not in messages[-2]["content"][0]


def _thinking(thinking: ir.Thinking | None, family: str, cap: int) -> tuple[dict[str, Any], str | None]:
    """How to think, in the words of the model's maker; and in Converse's own, as an effort."""
    if thinking is None:
        return {}, None
    effort = "low" if thinking.effort == "minimal" else thinking.effort
    if family == "claude":
        shape = thinking_of(thinking, cap)
        return {"thinking": shape} if shape else {}, None if effort == "none" else effort
    if thinking.budget:
        raise ir.unsupported("a thinking budget", _WHERE)
    if thinking.budget == 0:
        effort = "none"
    if family == "nova" and effort is not None:
        if effort == "none":
            return {"reasoningConfig": {"type": "disabled"}}, None
        most = "high" if effort in ("xhigh", "max") else effort
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": most}}, None
    if family == "gpt-oss" and effort is not None:
        return {"reasoning_effort": effort}, None
    return {}, None if effort == "none" else effort


def _format(output: ir.OutputFormat) -> dict[str, Any]:
    described = {"name": output.name, "description": output.description}
    definition = {name: value for name, value in described.items() if value}
    definition["schema"] = _encode(output.schema).decode()
    return {"type": "json_schema", "structure": {"jsonSchema": definition}}


def _tools(request: ir.Request, writer: _Writer) -> dict[str, Any] | None:
    """The tools, and whether one is called. Who has called tools must declare some: those called, if need be."""
    choice = request.tool_choice or ir.ToolChoice("auto")
    parts = [part for message in request.messages for part in message.parts]
    called = {part.name: None for part in parts if isinstance(part, ir.ToolCall)}
    if choice.mode == "none" and request.tools:
        if called or any(isinstance(part, ir.ToolResult) for part in parts):
            raise ir.unsupported("tool_choice: none, in a conversation with tool calls,", _WHERE)
        return None
    if not request.tools:
        if choice.mode in ("required", "named"):
            raise ir.unsupported("tool_choice without tools", _WHERE)
        gone = [ir.Tool(name, "This tool is not available any more.") for name in called]
        return {"tools": [shape for tool in gone for shape in writer.tool(tool)]} if gone else None
    for number, tool in enumerate(request.tools):
        if tool.custom:
            raise ir.unsupported(f"tools[{number}].type", _WHERE)
    config: dict[str, Any] = {"tools": [shape for tool in request.tools for shape in writer.tool(tool)]}
    if choice.mode == "named":
        if len(choice.names) != 1:
            raise ir.unsupported("tool_choice of several tools", _WHERE)
        config["toolChoice"] = {"tool": {"name": choice.names[0]}}
    elif request.tool_choice is not None:
        config["toolChoice"] = {"any" if choice.mode == "required" else "auto": {}}
    return config


class _Writer:
    """Writes blocks. `claude`: whether the model is one of Anthropic's, who alone read thoughts and cache points."""

    def __init__(self, claude: bool) -> None:
        self.claude = claude
        self._documents: set[str] = set()

    def tool(self, tool: ir.Tool) -> list[dict[str, Any]]:
        """A tool's specification, and its cache mark."""
        spec: dict[str, Any] = {"name": tool.name}
        if tool.description:
            spec["description"] = tool.description
        spec["inputSchema"] = {"json": {"type": "object", "properties": {}} if tool.schema is None else tool.schema}
        if tool.strict is not None:
            spec["strict"] = tool.strict
        return self._marked({"toolSpec": spec}, tool.cache)

    def system(self, messages: list[ir.Message]) -> list[dict[str, Any]]:
        """The system prompt: every system message, in order."""
        found: list[dict[str, Any]] = []
        for part in (part for message in messages if message.role == "system" for part in message.parts):
            if not isinstance(part, ir.Text):
                raise ir.unsupported("a system message that is not text", _WHERE)
            found += self.blocks(part)
        return found

    def messages(self, messages: list[ir.Message]) -> list[dict[str, Any]]:
        """The turns: neighbours of one role joined, and in each of the user's the results of tools first."""
        turns: list[tuple[str, list[list[dict[str, Any]]]]] = []
        for message in messages:
            if message.role == "system":
                continue
            said = [blocks for part in message.parts if (blocks := self.blocks(part))]
            if not said:
                continue
            if not turns or turns[-1][0] != message.role:
                turns.append((message.role, []))
            turns[-1][1].extend(said)
        for role, parts in turns:
            parts.sort(key=lambda blocks: role == "user" and "toolResult" not in blocks[0])
        return [{"role": role, "content": [block for blocks in parts for block in blocks]} for role, parts in turns]

    def blocks(self, part: ir.Part) -> list[dict[str, Any]]:
        """A part and its cache mark; nothing for what says nothing, and for another maker's reasoning."""
        match part:
            case ir.Text() if part.text.strip():
                return self._marked({"text": part.text}, part.cache)
            case ir.Refusal() if part.text.strip():
                return [{"text": part.text}]
            case ir.Image():
                return self._marked({"image": _image(part)}, part.cache)
            case ir.File():
                return self._marked({"document": self._document(part)}, part.cache)
            case ir.Audio():
                if part.format not in _AUDIO:
                    raise ir.unsupported(f"audio of format {part.format}", _WHERE)
                return [{"audio": {"format": part.format, "source": {"bytes": part.data}}}]
            case ir.Reasoning():
                return self._reasoning(part)
            case ir.ToolCall():
                return [{"toolUse": _call(part)}]
            case ir.ToolResult():
                content = [blocks[0] for inner in part.parts if (blocks := self.blocks(inner))]
                result: dict[str, Any] = {"toolUseId": tool_id(part.call_id), "content": content}
                if part.error:
                    result["status"] = "error"
                return self._marked({"toolResult": result}, part.cache)
        return []

    def _marked(self, block: dict[str, Any], cache: str | None) -> list[dict[str, Any]]:
        """A block and its cache mark, a hint."""
        if cache is None or not self.claude:
            return [block]
        return [block, {"cachePoint": {"type": "default", "ttl": "1h"} if cache == "1h" else {"type": "default"}}]

    def _document(self, part: ir.File) -> dict[str, Any]:
        if part.data is None:
            raise ir.unsupported("a document's URL", _WHERE)
        kind = part.media_type or ""
        form = _DOCUMENTS.get(kind) or ("txt" if kind.startswith("text/") else None)
        if form is None:
            raise ir.unsupported(f"a file of type {kind or 'unknown'}", _WHERE)
        return {"format": form, "name": self._name(part.name or "document"), "source": {"bytes": part.data}}

    def _name(self, name: str) -> str:
        """A document's name as Converse allows it: a few characters, and no name twice."""
        plain = re.sub(r"\s+", " ", re.sub(r"[^a-zA-Z0-9\s()\[\]-]", "-", name[:150])).strip() or "document"
        found, number = plain, 1
        while found in self._documents:
            number += 1
            found = f"{plain} ({number})"
        self._documents.add(found)
        return found

    def _reasoning(self, part: ir.Reasoning) -> list[dict[str, Any]]:
        """Claude's own thoughts: Anthropic signs them alike, wherever Claude runs."""
        if not self.claude or part.origin not in ("bedrock", "anthropic"):
            return []
        if part.redacted is not None:
            return [{"reasoningContent": {"redactedContent": part.redacted}}]
        if part.signature is None:
            return []  # refused as not Claude's own
        return [{"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}}]


def _image(part: ir.Image) -> dict[str, Any]:
    if part.data is None:
        raise ir.unsupported("an image's URL", _WHERE)
    form = _IMAGES.get(part.media_type or "")
    if form is None:
        raise ir.unsupported(f"an image of type {part.media_type or 'unknown'}", _WHERE)
    return {"format": form, "source": {"bytes": part.data}}


def _call(part: ir.ToolCall) -> dict[str, Any]:
    return {"toolUseId": tool_id(part.id), "name": part.name, "input": input_of(part, _WHERE)}
