"""OpenAI chat completions, streamed to a client: events as chunks.

Source: `ChatCompletionChunk` and the stream accumulator of the openai 3.54 package, which merges what has an `index` by
it, and opens choices in their order.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.base import Request
from relay.protocols.chat import reasoning
from relay.protocols.chat.answer import TERMINATOR
from relay.protocols.chat.answer_ir import is_old, logprobs_object, reason_of, usage_with_cost


@dataclass(slots=True)
class _Written:
    """A choice as it is written: blocks of reasoning and calls so far, and whether the open part said anything."""

    part: ir.Text | ir.Refusal | ir.Reasoning | ir.ToolCall | None = None
    blocks: int = 0
    calls: int = 0
    said: bool = False


class Encoder:
    """A client's stream: see `relay.protocols.base.Encoder`."""

    def __init__(self, request: Request, seed: str) -> None:
        self._chunk: dict[str, Any] = {
            "id": f"chatcmpl-{seed}",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": request.model,
        }
        self._usage: bool = request.options
        self._old = is_old(request)
        self._choices: list[_Written] = []

    def encode(self, event: ir.Event) -> bytes:
        """The chunks of an event. A choice begins with its role, after those before it."""
        if isinstance(event, ir.Start):
            self._chunk["created"] = event.created or int(time.time())
            self._chunk["model"] = event.model or self._chunk["model"]
            return self._open(0)
        opened, choice = self._open(event.choice), self._choices[event.choice]
        if isinstance(event, ir.Stop):
            reason = reason_of(event.reason)
            reason = "function_call" if self._old and choice.calls == 1 and reason == "tool_calls" else reason
            return opened + self._write(event.choice, {}, finish=reason)
        if isinstance(event, ir.Probabilities):
            return opened + self._write(event.choice, {}, logprobs=logprobs_object(event.tokens))
        delta = self._delta(choice, event)
        return opened + (self._write(event.choice, delta) if delta else b"")

    def _open(self, number: int) -> bytes:
        written = b""
        while len(self._choices) <= number:
            self._choices.append(_Written())
            written += self._write(len(self._choices) - 1, {"role": "assistant", "content": ""})
        return written

    def _write(self, number: int, delta: dict[str, Any], *, finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return b"data: " + msgspec.json.encode({**self._chunk, "choices": [choice]}) + b"\n\n"

    def _delta(self, choice: _Written, event: ir.PartStart | ir.Delta | ir.Sealed | ir.PartEnd) -> dict[str, Any]:
        """What an event adds to a message; {} where nothing."""
        if isinstance(event, ir.PartStart):
            choice.part, choice.said = event.part, False
            return self._begin_call(choice, event.part) if isinstance(event.part, ir.ToolCall) else {}
        part = choice.part
        if isinstance(part, ir.ToolCall):
            if isinstance(event, ir.PartEnd) and not part.custom and not choice.said:
                return self._grow_call(choice, part, "{}")  # no arguments are an empty object
            return self._grow_call(choice, part, event.text) if isinstance(event, ir.Delta) else {}
        if isinstance(part, ir.Reasoning):
            return _reasoning_delta(choice, part, event)
        if isinstance(event, ir.Delta):
            return {"refusal" if isinstance(part, ir.Refusal) else "content": event.text}
        return {}

    def _begin_call(self, choice: _Written, part: ir.ToolCall) -> dict[str, Any]:
        choice.calls += 1
        if self._old and choice.calls == 1:
            return {"function_call": {"name": part.name, "arguments": ""}}
        kind, content = ("custom", "input") if part.custom else ("function", "arguments")
        begun = {
            "index": choice.calls - 1 - self._old,
            "id": part.id,
            "type": kind,
            kind: {"name": part.name, content: ""},
        }
        return {"tool_calls": [begun]}

    def _grow_call(self, choice: _Written, part: ir.ToolCall, text: str) -> dict[str, Any]:
        choice.said = True
        if self._old and choice.calls == 1:
            return {"function_call": {"arguments": text}}
        kind, content = ("custom", "input") if part.custom else ("function", "arguments")
        return {"tool_calls": [{"index": choice.calls - 1 - self._old, kind: {content: text}}]}

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """The usage, for a client that asked; the terminator."""
        if not self._usage:
            return b"", TERMINATOR
        chunk = {**self._chunk, "choices": [], "usage": usage_with_cost(units, cost)}
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n", TERMINATOR


def _reasoning_delta(choice: _Written, part: ir.Reasoning, event: ir.Delta | ir.Sealed | ir.PartEnd) -> dict[str, Any]:
    """A piece of a block: its text for who shows it, and an entry for who sends it back. The first says whose it is."""
    if isinstance(event, ir.PartEnd):
        choice.blocks += choice.said
        return {}
    if isinstance(event, ir.Delta):
        entry, shown = reasoning.text_entry(part.origin, event.text), {"reasoning_content": event.text}
    else:
        entry, shown = reasoning.sealed_entry(event.signature, event.redacted), {}
    about = {"index": choice.blocks} if choice.said else reasoning.stamp(part, choice.blocks)
    choice.said = True
    return {**shown, "reasoning_details": [{**entry, **about}]}
