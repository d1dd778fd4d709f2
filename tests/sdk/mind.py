"""What the doubles' model thinks: one mind behind four wire formats, so that every pair is asked for the same things.

A double reads `Facts` out of a request by its own means, never by the relay's code, and writes what `answer` says in
its own recorded shape. A request that does not ask for what its prompt is about, or lost it on the way, is `Wrong`.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

# A red pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "A city"}},
    "required": ["city"],
    "additionalProperties": False,
}
SYSTEM = "You are terse."
# What a maker alone can read of its thoughts. Base64, as Google's SDK decodes it.
SIGNATURE = base64.b64encode(b"signed by the maker, not readable").decode()
THOUGHT = "They want the weather, so I look it up."
REFUSAL = "I cannot help with that."


class Wrong(Exception):
    """What a real API would answer with a 400."""


@dataclass
class Facts:
    """What a request says. `results`: of the last turn, call id → text. `calls`: of every turn, id → (name, arguments).

    `choice`: of tools: "auto", "none", "required", or the name of one. `signed`: whether the last turn of the model
    came back with its reasoning. `show`: whether thoughts are shown.
    """

    prompt: str = ""
    system: str = ""
    images: list[bytes] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    calls: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    tools: dict[str, dict[str, Any]] = field(default_factory=dict)
    schema: dict[str, Any] | None = None
    choice: str = "auto"
    thinking: bool = False
    show: bool = False
    signed: bool = False
    cap: int | None = None
    stops: list[str] = field(default_factory=list)
    stream: bool = False


@dataclass
class Said:
    """An answer. `stop`: "stop", "length", "calls", "sequence" or "refusal"."""

    text: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stop: str = "stop"
    thought: bool = False


def pieces(text: str) -> list[str]:
    """A text as it is streamed."""
    return [text[start : start + 7] for start in range(0, len(text), 7)]


def _need(truth: bool, what: str) -> None:
    if not truth:
        raise Wrong(what)


def answer(facts: Facts) -> Said:
    """What the model says to a request."""
    _need(facts.system == SYSTEM, f"the system prompt is {facts.system!r}")
    if facts.results:
        lines = [f"{facts.calls[call][1]['city']}: {text}" for call, text in facts.results.items()]
        return Said("; ".join(lines))
    word = facts.prompt.partition(" ")[0]
    if word in ("Weather", "Consider", "Must", "Named"):
        choice = {"Must": "required", "Named": "get_weather"}.get(word, "auto")
        _need(facts.choice == choice, f"the choice of tools is {facts.choice}")
        _need(facts.tools == {"get_weather": WEATHER}, f"the tools are {facts.tools}")
        _need(facts.thinking == (word == "Consider"), "thinking was asked for, or was not")
        cities = [city for city in ("Paris", "Rome") if city in facts.prompt]
        return Said("", [("get_weather", {"city": city}) for city in cities], "calls", facts.thinking)
    if word == "Structure":
        schema = facts.schema or {}
        names = {name: kind.get("type", "").lower() for name, kind in schema.get("properties", {}).items()}
        _need(names == {"city": "string", "celsius": "integer"}, f"the schema is {facts.schema}")
        _need(sorted(schema.get("required", ())) == ["celsius", "city"], f"the schema is {facts.schema}")
        return Said(json.dumps({"city": "Paris", "celsius": 18}))
    if word == "Picture":
        _need(facts.images == [PNG], f"the images are {facts.images}")
        return Said("A red pixel.")
    if word == "Long":
        _need(facts.cap == 16, f"the cap is {facts.cap}")
        return Said("Once upon a time", stop="length")
    if word == "Count":
        _need(facts.stops == ["five"], f"the stop sequences are {facts.stops}")
        return Said("one two three four ", stop="sequence")
    if word == "Forbidden":
        return Said("", stop="refusal")
    _need(word == "Hello", f"the prompt is {facts.prompt!r}")
    return Said("Hello there, Zoë! 🌍")
