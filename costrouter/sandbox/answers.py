"""What a sandbox model answers. Pure: the same request always gives the same answer and the same usage.

A token is a word, a run of digits or one other character, with the white space before it. A prompt is the tokens of its
text, 4 for each message, 85 for each part that is not text, and the tokens of the tool definitions as compact JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from costrouter.sandbox.models import MAX_OUTPUT, MODELS, SandboxModel

_TOKEN = re.compile(r"\s*(?:[^\W\d_]+|\d+|[^\s\w]|_)|\s+\Z")
PER_MESSAGE = 4
PER_OTHER_PART = 85
MAX_CHOICES = 16
_SENTENCES = (
    "This is the CostRouter sandbox, so no provider was called and the words are canned.",
    "The tokens are counted for real, and the charge is exact to the nano-dollar.",
    "Add a channel with a provider's key to talk to a real model.",
    "The relay found this channel by the model's name.",
    "It held the most this answer could cost, and charged what it did cost.",
    "You can find this request in the usage records, with its price line by line.",
)


class BadRequest(Exception):
    """The request cannot be answered. `status`, `param` and `code` are those of OpenAI's error object."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: text, or a tool call (name, JSON arguments). `tokens` are what a stream sends one by one."""

    tokens: tuple[str, ...]
    finish_reason: str
    tool_name: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer to a request."""

    model: SandboxModel
    choices: tuple[Choice, ...]
    prompt_tokens: int
    stream: bool
    include_usage: bool

    @property
    def usage(self) -> dict[str, Any]:
        """OpenAI's usage object."""
        completion = sum(len(choice.tokens) for choice in self.choices)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }


def tokenize(text: str) -> list[str]:
    """The tokens of a text; joined, they are the text."""
    return _TOKEN.findall(text)


def answer(body: object) -> Answer:
    """The answer to the JSON body of a chat completion. Raises BadRequest."""
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    model = MODELS.get(str(body.get("model")))
    if model is None:
        raise BadRequest(
            f"The model `{body.get('model')}` does not exist in the sandbox.",
            param="model",
            code="model_not_found",
            status=404,
        )
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(item, dict) for item in messages):
        raise BadRequest("'messages' must be a list of at least one message.", param="messages")
    tools = [tool for tool in body.get("tools") or [] if isinstance(tool, dict)]
    options = body.get("stream_options") or {}
    limit = _whole(body, "max_completion_tokens", MAX_OUTPUT) or _whole(body, "max_tokens", MAX_OUTPUT) or MAX_OUTPUT
    choices = []
    for index in range(_whole(body, "n", MAX_CHOICES) or 1):
        choices.append(_choice(model, body, messages, tools, limit, index))
    return Answer(
        model=model,
        choices=tuple(choices),
        prompt_tokens=_prompt_tokens(messages, tools),
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _whole(body: Mapping[str, Any], name: str, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BadRequest(f"'{name}' must be a whole number between 1 and {most}.", param=name)
    return value


def _prompt_tokens(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> int:
    total = 0
    for message in messages:
        text, others = _content(message)
        calls = message.get("tool_calls")
        total += PER_MESSAGE + len(tokenize(text)) + PER_OTHER_PART * others
        total += len(tokenize(json.dumps(calls, separators=(",", ":")))) if calls else 0
    return total + (len(tokenize(json.dumps(tools, separators=(",", ":")))) if tools else 0)


def _content(message: Mapping[str, Any]) -> tuple[str, int]:
    """A message's text, and how many of its parts are something else."""
    content = message.get("content")
    if isinstance(content, str):
        return content, 0
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    texts = [str(part.get("text", "")) for part in parts if part.get("type") == "text"]
    return "\n".join(texts), len(parts) - len(texts)


def _choice(
    model: SandboxModel,
    body: Mapping[str, Any],
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]],
    limit: int,
    index: int,
) -> Choice:
    said = next((_content(item)[0] for item in reversed(messages) if item.get("role") == "user"), "")
    if name := _tool_to_call(body.get("tool_choice"), messages, tools, said):
        function = next(tool["function"] for tool in tools if _tool_name(tool) == name)
        arguments = example(function.get("parameters") or {}, said, function.get("parameters") or {})
        tokens = tokenize(json.dumps(arguments if isinstance(arguments, dict) else {}, ensure_ascii=False))
        finish, tool_name = "tool_calls", name
    else:
        text = _stopped(_text(model, body, messages, said, index), body.get("stop"))
        tokens, finish, tool_name = tokenize(text), "stop", None
    if len(tokens) > limit:
        tokens, finish = tokens[:limit], "length"
    return Choice(tuple(tokens), finish, tool_name)


def _tool_name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    return str(function.get("name", "")) if isinstance(function, dict) else ""


def _tool_to_call(choice: object, messages: list[dict[str, Any]], tools: list[dict[str, Any]], said: str) -> str | None:
    """The tool that is forced, or on `auto` one that the user names; none once its result is there."""
    names = [name for name in map(_tool_name, tools) if name]
    if isinstance(choice, dict):
        forced = _tool_name(choice)
        if forced not in names:
            raise BadRequest(f"Tool choice '{forced}' not found in 'tools' parameter.", param="tool_choice")
        return forced
    if choice == "required":
        if not names:
            raise BadRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
        return names[0]
    if choice == "none" or messages[-1].get("role") == "tool":
        return None
    return next((name for name in names if name.lower() in said.lower()), None)


def _text(model: SandboxModel, body: Mapping[str, Any], messages: list[dict[str, Any]], said: str, index: int) -> str:
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema" and isinstance(wanted, dict) and isinstance(wanted.get("json_schema"), dict):
        schema = wanted["json_schema"].get("schema") or {}
        return json.dumps(example(schema, said, schema), ensure_ascii=False)
    if kind == "json_object":
        return json.dumps({"answer": said}, ensure_ascii=False)
    if messages[-1].get("role") == "tool":
        opening = f"The tool answered: {_content(messages[-1])[0]}"
    else:
        opening = f"You said: {said.strip()}" if said.strip() else "You said nothing."
    if opening[-1].isalnum():
        opening += "."
    first = f"Answer {index + 1}. {opening}" if index else opening
    return " ".join([first, *_SENTENCES[: model.sentences]])


def _stopped(text: str, stop: object) -> str:
    """The text up to the first of the stop sequences."""
    sequences = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    found = [text.find(item) for item in sequences if isinstance(item, str) and item]
    return text[: min(at for at in found if at >= 0)] if any(at >= 0 for at in found) else text


def example(schema: Any, said: str, root: Any, depth: int = 0) -> Any:
    """A value that fits a JSON schema of the plain kind: types, enums, defaults, objects, arrays, local references."""
    if not isinstance(schema, dict) or depth > 20:
        return None
    if str(schema.get("$ref", "")).startswith("#/"):
        target = root
        for step in schema["$ref"][2:].split("/"):
            target = target.get(step, {}) if isinstance(target, dict) else {}
        return example(target, said, root, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return example(schema[key][0], said, root, depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "array":
        return [example(schema.get("items"), said, root, depth + 1)] * max(1, int(schema.get("minItems", 1)))
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        return {name: example(inner, said, root, depth + 1) for name, inner in properties.items()}
    simple = {"integer": int(schema.get("minimum", 1)), "number": float(schema.get("minimum", 1.5)), "boolean": True}
    return simple.get(str(kind), said.strip() or "sandbox") if kind != "null" else None
