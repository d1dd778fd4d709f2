"""The neutral conversation as a Gemini request.

Source of the format: the request types of the google-genai 3.4 package. Schemas travel as JSON Schema
(`parametersJsonSchema`, `responseJsonSchema`), so none has to be rewritten. Left out as hints: `user`, metadata,
verbosity, cache marks and keys, `strict`, an image's detail, and other makers' reasoning.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.base import Target
from relay.protocols.fields import no_deep_nesting
from relay.protocols.gemini.fields import check_uri, encode
from relay.protocols.gemini.parts import NO_SIGNATURE, Turn, arguments_of, call_part

WHERE = "Gemini"
# What Google's own OpenAI endpoint makes of an effort, for models that know budgets but no levels.
_BUDGETS = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
# HIGH is the most that every model with levels has.
_LEVELS = {"low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}
_AUDIO = {"mp3": "audio/mpeg"}
_TYPES = {
    **{"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"},
    **{"heic": "image/heic", "heif": "image/heif", "pdf": "application/pdf", "txt": "text/plain", "md": "text/md"},
    **{"csv": "text/csv", "html": "text/html", "xml": "text/xml", "json": "application/json", "mp4": "video/mp4"},
}


def from_ir(request: ir.Request, target: Target) -> bytes:
    """The body for `generateContent` and `streamGenerateContent` alike: which of them, the path says."""
    if request.logit_bias:
        raise ir.unsupported("logit_bias", WHERE)
    if request.parallel is False and request.tools:
        raise ir.unsupported("parallel_tool_calls", WHERE)
    with no_deep_nesting():
        body: dict[str, Any] = {"contents": _contents(request, target)}
        system = [part for message in request.messages if message.role == "system" for part in message.parts]
        if system:
            body["systemInstruction"] = {"parts": [_system_part(part) for part in system]}
        if request.tools:
            body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in request.tools]}]
        if request.tool_choice is not None and request.tools:
            body["toolConfig"] = {"functionCallingConfig": _calling(request.tool_choice)}
        config = _config(request, target)
        if config:
            body["generationConfig"] = config
        return encode(body)


def _config(request: ir.Request, target: Target) -> dict[str, Any]:
    config: dict[str, Any] = {
        "maxOutputTokens": target.cap if target.cap is not None else request.max_tokens,
        "candidateCount": request.choices if request.choices > 1 else None,
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "seed": request.seed,
        "stopSequences": request.stop or None,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
    }
    if request.logprobs is not None:
        config["responseLogprobs"] = True
        config["logprobs"] = request.logprobs or None
    if request.output is not None:
        config["responseMimeType"] = "application/json"
        config["responseJsonSchema"] = request.output.schema
    if request.thinking is not None:
        config["thinkingConfig"] = _thinking(request.thinking, target.model)
    return {name: value for name, value in config.items() if value is not None}


def _is_old(model: str) -> bool:
    """Whether a model is from before Gemini 3."""
    return any(name in model for name in ("gemini-1", "gemini-2"))


def _thinking(thinking: ir.Thinking, model: str) -> dict[str, Any]:
    """Gemini 2 knows budgets only, Gemini 3 prefers levels; neither takes both."""
    budgets = _is_old(model)
    effort, budget = thinking.effort, thinking.budget
    found: dict[str, Any] = {}
    if budgets:
        budget = budget if budget is not None else _BUDGETS.get(effort or "")
        found["thinkingBudget"] = budget
    elif effort in ("none", "minimal") or (effort is None and budget == 0):
        found["thinkingLevel"] = "LOW" if "pro" in model else "MINIMAL"
    elif effort is not None:
        found["thinkingLevel"] = _LEVELS.get(effort)
    else:
        found["thinkingBudget"] = budget
    found["includeThoughts"] = thinking.show
    return {name: value for name, value in found.items() if value is not None}


def _calling(choice: ir.ToolChoice) -> dict[str, Any]:
    if choice.mode == "named":
        return {"mode": "ANY", "allowedFunctionNames": choice.names}
    return {"mode": {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]}


def _declaration(tool: ir.Tool) -> dict[str, Any]:
    if tool.custom:
        raise ir.unsupported("tools", f"{WHERE}: {tool.name} is a tool with free-form input")
    declaration = {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.schema}
    return {name: value for name, value in declaration.items() if value is not None}


def _system_part(part: ir.Part) -> dict[str, Any]:
    if not isinstance(part, ir.Text):
        raise ir.unsupported("system", f"{WHERE}: only text")
    return {"text": part.text}


def _contents(request: ir.Request, target: Target) -> list[dict[str, Any]]:
    turns = [message for message in request.messages if message.role != "system"]
    calls: dict[str, str] = {}
    contents: list[dict[str, Any]] = []
    for message in ir.normal(msgspec.structs.replace(request, messages=turns)).messages:
        if message.role == "assistant":
            calls |= {part.id: part.name for part in message.parts if isinstance(part, ir.ToolCall)}
            role, parts = "model", _model_parts(message.parts, target)
        else:
            role, parts = "user", _user_parts(message.parts, calls, target)
        if parts:
            contents.append({"role": role, "parts": parts})
    if not contents:
        raise RelayError("invalid_request", "Gemini needs a message that is not a system message.", param="messages")
    return contents


def _model_parts(parts: list[ir.Part], target: Target) -> list[dict[str, Any]]:
    turn = Turn()
    # Gemini 3 wants a signature on the first call of a turn; one that it did not make has none.
    unsigned = not _is_old(target.model)
    for part in parts:
        if isinstance(part, ir.Reasoning):
            if part.origin == "gemini":
                turn.think(part)
        elif isinstance(part, ir.ToolCall):
            args = arguments_of(part)
            if args is None:
                raise RelayError("invalid_request", f"The arguments of {part.name} must be a JSON object.")
            turn.say(call_part(part, args))
            if unsigned:
                turn.parts[-1].setdefault("thoughtSignature", NO_SIGNATURE)
            unsigned = False
        elif isinstance(part, ir.Text | ir.Refusal):
            if part.text:
                turn.say({"text": part.text})
        elif isinstance(part, ir.ToolResult):
            raise RelayError("invalid_request", "A tool's result is part of a user message.")
        else:
            turn.say(_media(part))
    turn.flush()
    return turn.parts


def _user_parts(parts: list[ir.Part], calls: dict[str, str], target: Target) -> list[dict[str, Any]]:
    """A user's turn. What tools show is a part of their results from Gemini 3 on; before, it follows them."""
    said = [_user_part(part, calls) for part in parts if part != ir.Text("")]
    if not _is_old(target.model):
        return said
    shown = [media for part in said for media in part.get("functionResponse", {}).pop("parts", ())]
    results = [part for part in said if "functionResponse" in part]
    return [*results, *shown, *(part for part in said if "functionResponse" not in part)] if shown else said


def _user_part(part: ir.Part, calls: dict[str, str]) -> dict[str, Any]:
    if isinstance(part, ir.Text | ir.Refusal):
        return {"text": part.text}
    if isinstance(part, ir.ToolResult):
        return {"functionResponse": _response(part, calls)}
    if isinstance(part, ir.Reasoning | ir.ToolCall):
        raise RelayError("invalid_request", "A user message has neither reasoning nor tool calls.")
    return _media(part)


def _response(result: ir.ToolResult, calls: dict[str, str]) -> dict[str, Any]:
    name = result.name or calls.get(result.call_id)
    if not name:
        raise RelayError("invalid_request", f"No tool call has the id {result.call_id[:100]}.")
    if result.custom:
        raise ir.unsupported("tools", f"{WHERE}: {name} is a tool with free-form input")
    text = "\n".join(part.text for part in result.parts if isinstance(part, ir.Text))
    response: dict[str, Any] = {"id": result.call_id, "name": name}
    response["response"] = {"error" if result.error else "output": text}
    media = [_media(part) for part in result.parts if not isinstance(part, ir.Text)]
    return response | ({"parts": media} if media else {})


def _media(part: ir.Image | ir.Audio | ir.File) -> dict[str, Any]:
    if isinstance(part, ir.Audio):
        return {"inlineData": {"mimeType": _AUDIO.get(part.format, f"audio/{part.format}"), "data": part.data}}
    name = part.name if isinstance(part, ir.File) else None
    media_type = part.media_type or _guess(name) or _guess(part.url)
    found = {"mimeType": media_type, "displayName": name}
    if part.data is not None:
        if media_type is None:
            raise RelayError("invalid_request", "Gemini needs the media type of what is sent along.")
        return {"inlineData": {key: value for key, value in found.items() if value} | {"data": part.data}}
    found["fileUri"] = check_uri(part.url, "url")
    return {"fileData": {key: value for key, value in found.items() if value}}


def _guess(name: str | None) -> str | None:
    """The media type that a name's ending says."""
    return _TYPES.get((name or "").partition("?")[0].rpartition(".")[2].lower())
