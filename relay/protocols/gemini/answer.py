"""Gemini's generateContent, the answer: what it used, what of it may go at once, and when it is over.

Source of the format: the response types of the google-genai 3.4 package. A stream has no terminator: it is over with
its body, and ended well once every candidate has its `finishReason`, or the prompt was blocked. The event with the
first of those, and all after it, waits for the charge. Every event carries `usageMetadata`; what comes with the end is
whole.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from relay.protocols.base import Answer, CostOf, Request
from relay.protocols.fields import strings
from relay.protocols.gemini.fields import json_text
from relay.protocols.gemini.request import Options
from relay.protocols.sse import data_of
from relay.protocols.usage import gemini_units

# More searches than this in one answer are a broken list, not work that was done.
MAX_SEARCHES = 100


class Chunk(msgspec.Struct):
    """A response, or a part of it, as far as its meaning goes."""

    candidates: Any = None
    usageMetadata: Any = None
    promptFeedback: Any = None
    error: Any = None
    responseId: Any = None
    modelVersion: Any = None
    createTime: Any = None

    def objects(self) -> list[dict[str, Any]]:
        """The candidates that are such."""
        found = self.candidates if isinstance(self.candidates, list) else ()
        return [candidate for candidate in found if isinstance(candidate, dict)]

    def blocked(self) -> bool:
        """Whether the prompt was blocked: an answer too, and its whole."""
        return isinstance(self.promptFeedback, dict) and bool(self.promptFeedback.get("blockReason"))


_CHUNK = msgspec.json.Decoder(Chunk)


def read_chunk(data: bytes) -> Chunk | None:
    """A response; None where it is not a JSON object."""
    try:
        return _CHUNK.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_answer(body: bytes, request: Request) -> Answer | None:
    """A response that was not streamed, which the client gets as it is; None where the body is no answer."""
    chunk = read_chunk(body)
    if chunk is None or chunk.error is not None or not (chunk.objects() or chunk.blocked()):
        return None
    units = with_searches(gemini_units(chunk.usageMetadata), queries(chunk), request, chunk.modelVersion)
    texts: list[str] = []
    if units is None:
        for candidate in chunk.objects():
            said(candidate, texts)
    return Answer(units, texts, lambda units, cost: body)


def said(candidate: dict[str, Any], into: list[str]) -> None:
    """What a candidate says, for counting. What is nested too deeply is no speech."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    for part in parts if isinstance(parts, list) else ():
        with suppress(RecursionError):
            for name, value in part.items() if isinstance(part, dict) else ():
                if name == "functionCall" and isinstance(value, dict):
                    into += [str(value.get("name") or ""), json_text(value.get("args") or {})]
                elif name not in ("inlineData", "fileData", "thoughtSignature"):
                    strings(value, into)


def index_of(candidate: dict[str, Any]) -> int:
    """Which candidate it is: the first is often not numbered."""
    index = candidate.get("index")
    return index if type(index) is int and index >= 0 else 0


def queries(chunk: Chunk) -> set[str]:
    """What was searched for."""
    found: set[str] = set()
    for candidate in chunk.objects():
        grounding = candidate.get("groundingMetadata")
        asked = grounding.get("webSearchQueries") if isinstance(grounding, dict) else None
        found |= {query for query in asked if isinstance(query, str) and query} if isinstance(asked, list) else set()
    return found


def with_searches(
    units: dict[str, int] | None, asked: set[str], request: Request, version: object
) -> dict[str, int] | None:
    """Units with the searches that Google charges, where the client allowed any.

    Up to Gemini 2.5 a grounded answer is charged once, from Gemini 3 on each query that is not empty, the same one once
    ("Grounding with Google Search", Gemini API guide).
    """
    if units is None or "searches" not in request.pieces:
        return units
    once = any(name in f"{request.model} {version}" for name in ("gemini-1", "gemini-2"))
    return {**units, "searches": min(len(asked), 1 if once else MAX_SEARCHES)}


class Ending:
    """What a stream's responses say of its end. `units`: the last usage that came with a finish reason or after it.
    `asked`: what was searched for; `version`: the model's own name.
    """

    __slots__ = ("_begun", "_ended", "asked", "blocked", "units", "version")

    def __init__(self) -> None:
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self.asked: set[str] = set()
        self.blocked = False
        self.units: dict[str, int] | None = None
        self.version: object = ""

    @property
    def ending(self) -> bool:
        """Whether any candidate has ended."""
        return self.blocked or bool(self._ended)

    @property
    def finished(self) -> bool:
        """Whether every candidate that began has ended."""
        return self.blocked or (bool(self._ended) and self._begun == self._ended)

    def see(self, chunk: Chunk) -> None:
        """Take note of a response."""
        for candidate in chunk.objects():
            self._begun.add(index_of(candidate))
            if candidate.get("finishReason") not in (None, "", "FINISH_REASON_UNSPECIFIED"):
                self._ended.add(index_of(candidate))
        self.asked |= queries(chunk)
        self.blocked = self.blocked or chunk.blocked()
        self.version = chunk.modelVersion or self.version
        if self.ending:
            self.units = gemini_units(chunk.usageMetadata) or self.units


class Framing:
    """How a client reads a stream: each response an event, or an item of one JSON array."""

    __slots__ = ("_begun", "sse")

    def __init__(self, request: Request) -> None:
        options: Options = request.options
        self.sse = options.sse
        self._begun = False

    def event(self, event: bytes, data: bytes) -> bytes:
        """An upstream's event: as it was sent, or its data as an item."""
        return event if self.sse else self.response(data)

    def response(self, data: bytes) -> bytes:
        """A response."""
        if self.sse:
            return b"data: " + data + b"\r\n\r\n"
        before = b",\r\n" if self._begun else b"["
        self._begun = True
        return before + data

    def end(self) -> bytes:
        """What ends the stream."""
        return b"" if self.sse else (b"]" if self._begun else b"[]")


class StreamReader:
    """A streamed answer: see `relay.protocols.base.Reader`."""

    __slots__ = ("_ending", "_framing", "_held", "_request", "done", "failed", "started", "texts")

    def __init__(self, request: Request, cost_of: CostOf) -> None:
        self._request = request
        self._framing = Framing(request)
        self._ending = Ending()
        self._held: list[bytes] = []
        self.started = self.done = self.failed = False
        self.texts: list[str] = []

    @property
    def finished(self) -> bool:
        """Whether every candidate that began has its finish reason."""
        return self._ending.finished

    @property
    def units(self) -> dict[str, int] | None:
        """The usage, once the end has told it."""
        return with_searches(self._ending.units, self._ending.asked, self._request, self._ending.version)

    def read_rest(self, event: bytes) -> bytes:
        """The same for what a stream ended with, though no blank line ended it: half an event is none."""
        return self.read(event) if is_error(event) or read_chunk(data_of(event) or b"") is not None else b""

    def read(self, event: bytes) -> bytes:
        """What of an event goes to the client: itself, or nothing yet."""
        data = data_of(event)
        if data is None:
            self.failed = self.failed or is_error(event)
            return b"" if self.failed else self._now(event, None)
        chunk = read_chunk(data)
        if chunk is None:
            self.failed = b'"error"' in data[:64]
            return b"" if self.failed else self._now(event, None)
        if chunk.error is not None:
            self.failed = True
            return b""
        if chunk.candidates is not None or chunk.promptFeedback is not None or chunk.usageMetadata is not None:
            self.started = True
            self._ending.see(chunk)
            for candidate in chunk.objects():
                said(candidate, self.texts)
        return self._now(event, data)

    def _now(self, event: bytes, data: bytes | None) -> bytes:
        """An event goes at once, unless the end has begun; what is no response has no place in an array."""
        out = event if self._framing.sse else b""
        if data is not None:
            out = self._framing.event(event, data)
        if self._ending.ending and out:
            self._held.append(out)
            return b""
        return out

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """Nothing at once; all that was held, once the charge is committed."""
        return b"", b"".join(self._held) + self._framing.end()


def is_error(event: bytes) -> bool:
    """Whether an event without data is an error that Google wrote in between, as a JSON object of its own."""
    return event.lstrip()[:1] in (b"{", b"[") and b'"error"' in event[:64]
