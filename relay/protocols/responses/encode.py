"""A streamed answer for a client that speaks OpenAI's Responses: see `relay.protocols.base.Encoder`.

Source of the format: the event types and the stream accumulator of the openai 3.54 package. Texts and refusals that
follow each other are parts of one message; every other part is an item of its own. What another maker's reasoning needs
to be known again travels as its encrypted content.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.base import Request
from relay.protocols.fields import Fields
from relay.protocols.responses.answer import failure
from relay.protocols.responses.items import ORIGIN, logprobs_from
from relay.protocols.responses.request import response_id
from relay.protocols.responses.to_ir import LOGPROBS, namespaces
from relay.protocols.usage import responses_usage

_encode = msgspec.json.encode
# What a response tells again of its request, and how it says that nothing was said.
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
# How a response ends that is not complete.
_INCOMPLETE: dict[ir.StopReason, str] = {
    "length": "max_output_tokens",
    "context_window": "max_output_tokens",
    "content_filter": "content_filter",
}


class StreamEncoder:
    """A streamed response: see `relay.protocols.base.Encoder`. `output`: its items, once they are complete."""

    def __init__(self, request: Request, seed: str) -> None:
        self._request = request
        self._seed = seed
        self._model, self._created = request.model, 0
        self._sequence = 0
        self._stop: ir.StopReason = "stop"
        self._refused = False
        self._namespaces = namespaces(request)
        # The item that is growing, and its part, if it has parts.
        self._item: dict[str, Any] | None = None
        self._part: dict[str, Any] | None = None
        self._thought: ir.Reasoning | None = None
        # With log probabilities a delta waits for its own.
        self._waits = LOGPROBS in bytes(request.fields.get("include", b"")).decode("utf-8", "replace")
        self._waiting = ""
        self.output: list[dict[str, Any]] = []

    def encode(self, event: ir.Event) -> bytes:
        """What goes to the client now."""
        if isinstance(event, ir.Start):
            self._model, self._created = event.model or self._model, event.created
            return self._start()
        if event.choice != 0:
            return b""
        begun = self._start()
        match event:
            case ir.PartStart():
                return begun + self._begin(event.part)
            case ir.Delta():
                return begun + self._grow(event.text)
            case ir.Probabilities():
                return begun + self._tell(self._waiting, event.tokens)
            case ir.Sealed() if self._thought is not None:
                self._thought.signature = event.signature or self._thought.signature
                self._thought.redacted = event.redacted or self._thought.redacted
            case ir.PartEnd():
                return begun + self._end_part()
            case ir.Stop():
                self._stop = event.reason
                return begun + self._end_item()
        return begun

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """What was not told yet; the terminal event."""
        told = self._start() + self._end_item()
        response = self.response(units, cost)
        return told, self._event(f"response.{response['status']}", response=response)

    def error(self, error: RelayError) -> bytes:
        """The event that ends a stream which failed after it began."""
        return self._event("response.failed", response=self._response("failed") | failure(error))

    def response(self, units: dict[str, int], cost: str) -> dict[str, Any]:
        """The whole response, once it is over."""
        reason = _INCOMPLETE.get(self._stop)
        if self._stop == "refusal" and not self._refused:
            reason = "content_filter"
        response = self._response("completed" if reason is None else "incomplete")
        response["incomplete_details"] = None if reason is None else {"reason": reason}
        response["output"] = self.output
        response["usage"] = {**responses_usage(units), "cost": msgspec.Raw(cost.encode())}
        return response

    def _response(self, status: str) -> dict[str, Any]:
        fields: Fields = self._request.fields
        options = self._request.options
        said = {name: fields[name] for name in _ECHOED if name in fields and bytes(fields[name]) != b"null"}
        self._created = self._created or int(time.time())
        return {
            "id": response_id(self._seed),
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": self._model,
            "output": [],
            "previous_response_id": options.previous,
            "store": options.store,
            "usage": None,
            **_ECHOED,
            **said,
        }

    def _event(self, kind: str, **fields: Any) -> bytes:
        body = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return b"event: " + kind.encode() + b"\ndata: " + _encode(body) + b"\n\n"

    def _start(self) -> bytes:
        if self._sequence:
            return b""
        response = self._response("in_progress")
        created = self._event("response.created", response=response)
        return created + self._event("response.in_progress", response=response)

    def _begin(self, part: ir.Text | ir.Refusal | ir.Reasoning | ir.ToolCall) -> bytes:
        if isinstance(part, ir.Text | ir.Refusal):
            return self._begin_text(part)
        told = self._end_item()
        if isinstance(part, ir.Reasoning):
            self._thought = ir.Reasoning("", part.origin, part.signature, part.redacted, part.id)
            id = part.id if part.origin == ORIGIN and part.id else self._id("rs")
            item: dict[str, Any] = {"id": id, "type": "reasoning", "summary": []}
            item["encrypted_content"] = _sealed(self._thought)
            return told + self._open(item) + self._grow(part.text)
        called = {"call_id": part.id, "name": part.name, "status": "in_progress"}
        if part.name in self._namespaces:
            called["namespace"], called["name"] = self._namespaces[part.name]
        if part.custom:
            item = {"id": self._id("ctc"), "type": "custom_tool_call", **called, "input": ""}
        else:
            item = {"id": self._id("fc"), "type": "function_call", **called, "arguments": ""}
        return told + self._open(item) + self._grow(part.arguments)

    def _begin_text(self, part: ir.Text | ir.Refusal) -> bytes:
        told = b""
        if self._item is None or self._item["type"] != "message":
            told = self._end_item()
            item = {"id": self._id("msg"), "type": "message", "role": "assistant"}
            told += self._open({**item, "status": "in_progress", "content": []})
        if isinstance(part, ir.Refusal):
            self._refused = True
            self._part = {"type": "refusal", "refusal": ""}
        else:
            self._part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        told += self._event("response.content_part.added", **self._at(content=True), part=self._part)
        return told + self._grow(part.text)

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._seed}{len(self.output)}"

    def _open(self, item: dict[str, Any]) -> bytes:
        self._item = item
        return self._event("response.output_item.added", output_index=len(self.output), item=item)

    def _at(self, *, content: bool = False) -> dict[str, Any]:
        """Where the growing item is, or the growing part of its content."""
        item = self._item or {}
        where = {"item_id": item.get("id"), "output_index": len(self.output)}
        return {**where, "content_index": len(item.get("content", ()))} if content else where

    def _grow(self, text: str) -> bytes:
        item, part = self._item, self._part
        if not text or item is None:
            return b""
        if part is not None and part["type"] == "refusal":
            part["refusal"] += text
            return self._event("response.refusal.delta", **self._at(content=True), delta=text)
        if part is not None:
            told = self._tell(self._waiting, []) if self._waiting else b""
            self._waiting = text
            return told if self._waits else told + self._tell(text, [])
        if item["type"] == "function_call":
            item["arguments"] += text
            return self._event("response.function_call_arguments.delta", **self._at(), delta=text)
        if item["type"] == "custom_tool_call":
            item["input"] += text
            return self._event("response.custom_tool_call_input.delta", **self._at(), delta=text)
        return self._think(text)

    def _tell(self, text: str, tokens: list[ir.Logprob]) -> bytes:
        """A piece of text, with its log probabilities."""
        part, self._waiting = self._part, ""
        if part is None or part["type"] != "output_text":
            return b""
        logprobs = logprobs_from(tokens)
        part["text"] += text
        part["logprobs"] += logprobs
        return self._event("response.output_text.delta", **self._at(content=True), delta=text, logprobs=logprobs)

    def _think(self, text: str) -> bytes:
        thought, told = self._thought, b""
        if thought is None:
            return b""
        if not thought.text:
            empty = {"type": "summary_text", "text": ""}
            told = self._event("response.reasoning_summary_part.added", **self._at(), summary_index=0, part=empty)
        thought.text += text
        return told + self._event("response.reasoning_summary_text.delta", **self._at(), summary_index=0, delta=text)

    def _end_part(self) -> bytes:
        if self._part is None:
            return self._end_item()
        told = self._tell(self._waiting, []) if self._waiting else b""
        at, part, self._part = self._at(content=True), self._part, None
        if part["type"] == "refusal":
            told += self._event("response.refusal.done", **at, refusal=part["refusal"])
        else:
            done = {"text": part["text"], "logprobs": part["logprobs"]}
            told += self._event("response.output_text.done", **at, **done)
        told += self._event("response.content_part.done", **at, part=part)
        if self._item is not None:
            self._item["content"].append(part)
        return told

    def _end_item(self) -> bytes:
        told = self._end_part() if self._part is not None else b""
        item = self._item
        if item is None:
            return told
        if item["type"] == "function_call":
            done = {"name": item["name"], "arguments": item["arguments"]}
            told += self._event("response.function_call_arguments.done", **self._at(), **done)
        elif item["type"] == "custom_tool_call":
            told += self._event("response.custom_tool_call_input.done", **self._at(), input=item["input"])
        elif self._thought is not None:
            told += self._end_thought(item, self._thought)
        if "status" in item:
            item["status"] = "incomplete" if self._stop in _INCOMPLETE else "completed"
        self._item = None
        told += self._event("response.output_item.done", output_index=len(self.output), item=item)
        self.output.append(item)
        return told

    def _end_thought(self, item: dict[str, Any], thought: ir.Reasoning) -> bytes:
        self._thought, told = None, b""
        item["encrypted_content"] = _sealed(thought)
        if thought.text:
            whole = {"type": "summary_text", "text": thought.text}
            item["summary"] = [whole]
            at = {**self._at(), "summary_index": 0}
            told += self._event("response.reasoning_summary_text.done", **at, text=thought.text)
            told += self._event("response.reasoning_summary_part.done", **at, part=whole)
        return told


def _sealed(thought: ir.Reasoning) -> str | None:
    """What only the maker can read: this dialect's own as it is, another's sealed."""
    if thought.origin == ORIGIN:
        return thought.redacted
    return ir.seal(thought) if thought.origin or thought.signature or thought.redacted else None
