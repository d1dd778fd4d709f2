"""What a sandbox model answers. Pure: the same request always gives the same answer and the same usage.

A token is a word, a run of digits or one other character, with the white space before it. A prompt is the tokens of its
text, 4 for each message, 85 for each part that is not text, and the tokens of the tool definitions as compact JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from costrouter.sandbox.models import MAX_OUTPUT, MODELS, SandboxModel

_TOKEN = re.compile(r"\s*(?:[^\W\d_]+|\d+|[^\s\w]|_)|\s+\Z")
PER_MESSAGE = 4
PER_OTHER_PART = 85
MAX_CHOICES = 16
# Bounds of a value that is made up for a JSON schema: the items of an array, the nesting, the nodes of all of it.
MAX_ITEMS, MAX_DEPTH, MAX_EXAMPLE = 8, 20, 1_000
_KINDS: dict[type, str] = {str: "a string", list: "a list", dict: "an object", int: "a number"}
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
    tools = body.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise BadRequest("'tools' must be a list of tools.", param="tools")
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
        arguments = Example(function.get("parameters") or {}, said, param="tools").value()
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
    wanted = body.get("response_format") or {}
    if not isinstance(wanted, dict):
        raise BadRequest("'response_format' must be an object.", param="response_format")
    kind = wanted.get("type")
    if kind == "json_schema":
        if not isinstance(wanted.get("json_schema"), dict):
            raise BadRequest("'response_format' lacks its 'json_schema'.", param="response_format")
        schema = wanted["json_schema"].get("schema") or {}
        return json.dumps(Example(schema, said, param="response_format").value(), ensure_ascii=False)
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


class Example:
    """A value that fits a JSON schema of the plain kind: types, enums, defaults, objects, arrays, local references.

    `param` is the field that the schema came in. However it refers to itself, the value stays small: what is nested too
    deeply, or comes after MAX_EXAMPLE nodes, is null.
    """

    def __init__(self, root: object, said: str, *, param: str) -> None:
        self.root, self.param = root, param
        self.said = said.strip()[:1_000] or "sandbox"
        self.nodes = 0

    def value(self) -> Any:
        """The value. Raises BadRequest for what is no JSON schema."""
        return self._of(self.root, 0)

    def _of(self, schema: object, depth: int) -> Any:
        if schema is None or isinstance(schema, bool):
            return None  # anything goes
        if not isinstance(schema, dict):
            raise self._wrong("a schema", "an object")
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_EXAMPLE:
            return None
        if reference := self._given(schema, "$ref", str):
            return self._of(self._target(reference), depth + 1)
        for key in ("const", "default"):
            if key in schema:
                return self._constant(schema[key])
        if choices := self._given(schema, "enum", list):
            return self._constant(choices[0])
        for key in ("anyOf", "oneOf", "allOf"):
            if choices := self._given(schema, key, list):
                return self._of(choices[0], depth + 1)
        return self._of_type(schema, depth)

    def _of_type(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) and kind else kind
        if kind is not None and not isinstance(kind, str):
            raise self._wrong("'type'", "a string or a list of strings")
        least = self._given(schema, "minimum", int, float)
        if kind == "array":
            length = self._given(schema, "minItems", int)
            return [self._of(schema.get("items"), depth + 1) for _ in range(min(max(1, length or 1), MAX_ITEMS))]
        if kind == "object" or "properties" in schema:
            properties = self._given(schema, "properties", dict) or {}
            return {name: self._of(inner, depth + 1) for name, inner in properties.items()}
        simple = {
            "boolean": True,
            "null": None,
            "integer": 1 if least is None else math.ceil(least),
            "number": 1.5 if least is None else least,
        }
        return simple.get(kind or "", self.said)

    def _constant(self, value: object) -> Any:
        """A value that the schema itself names, which may be long and named often: it counts by its length."""
        self.nodes += len(json.dumps(value)) // 100
        return value if self.nodes <= MAX_EXAMPLE else None

    def _target(self, reference: str) -> object:
        if reference != "#" and not reference.startswith("#/"):
            raise self._wrong(f"the reference '{reference[:100]}'", "a local one")
        self.nodes += len(reference) // 100
        target = self.root
        for step in reference.split("/")[1:]:
            if not isinstance(target, dict) or step not in target:
                raise self._wrong(f"the reference '{reference[:100]}'", "to something")
            target = target[step]
        return target

    def _given(self, schema: dict[str, Any], key: str, *kinds: type) -> Any:
        """What a schema says of `key`, None where nothing. Raises BadRequest where that is of another kind."""
        value = schema.get(key)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise self._wrong(f"'{key}'", _KINDS[kinds[0]])
        return value

    def _wrong(self, what: str, wanted: str) -> BadRequest:
        return BadRequest(f"Invalid schema in '{self.param}': {what} must be {wanted}.", param=self.param)
