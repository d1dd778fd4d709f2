"""Gemini's streamed answer of an upstream, as the neutral events."""

from __future__ import annotations

from typing import Any

from relay.protocols import ir
from relay.protocols.gemini.answer import Chunk, Ending, index_of, is_error, read_chunk
from relay.protocols.gemini.parts import Spoken, spoken
from relay.protocols.gemini.pieces import created, logprobs_of, stop_of
from relay.protocols.sse import data_of


class _Saying:
    """What a candidate has said so far. `open`: its text or thought that may go on."""

    __slots__ = ("called", "count", "index", "number", "open", "stopped")

    def __init__(self, number: int) -> None:
        self.number = number
        self.index = -1
        self.count = 0
        self.open: type[Spoken] | None = None
        self.called = self.stopped = False

    def begin(self, part: ir.Text | ir.Reasoning | ir.ToolCall) -> list[ir.Event]:
        events = self.end()
        self.index += 1
        self.open = type(part)
        return [*events, ir.PartStart(self.index, part, self.number)]

    def end(self) -> list[ir.Event]:
        ended, self.open = self.open, None
        return [ir.PartEnd(self.index, self.number)] if ended is not None else []

    def say(self, part: Spoken) -> list[ir.Event]:
        """A text or an unsigned thought may go on; all else is whole."""
        if isinstance(part, ir.ToolCall):
            self.called = True
            events = self.begin(ir.ToolCall(part.id, part.name))
            return [*events, ir.Delta(self.index, part.arguments, self.number), *self.end()]
        events = []
        alone = isinstance(part, ir.Reasoning) and not part.text
        if self.open is not type(part) or alone:
            fresh = ir.Reasoning(origin=part.origin) if isinstance(part, ir.Reasoning) else ir.Text("")
            events += self.begin(fresh)
        if part.text:
            events.append(ir.Delta(self.index, part.text, self.number))
        if isinstance(part, ir.Reasoning) and (part.signature or part.redacted):
            events.append(ir.Sealed(self.index, part.signature, part.redacted, self.number))
            events += self.end()
        return events


class Decoder:
    """An upstream's stream as neutral events: see `relay.protocols.base.Decoder`."""

    __slots__ = ("_choices", "_ending", "_id", "done", "failed", "started", "texts")

    def __init__(self) -> None:
        self._ending = Ending()
        self._choices: dict[int, _Saying] = {}
        self._id: object = ""
        self.started = self.done = self.failed = False
        self.texts: list[str] = []

    @property
    def finished(self) -> bool:
        """Whether every candidate that began has its finish reason."""
        return self._ending.finished

    @property
    def units(self) -> dict[str, int] | None:
        """The usage, once the end has told it."""
        return self._ending.units

    def decode(self, event: bytes) -> list[ir.Event]:
        """What an event means."""
        data = data_of(event)
        if data is None:
            self.failed = self.failed or is_error(event)
            return []
        chunk = read_chunk(data)
        if chunk is None:
            self.failed = self.failed or b'"error"' in data[:64]
            return []
        if chunk.error is not None:
            self.failed = True
            return []
        if chunk.candidates is None and chunk.promptFeedback is None and chunk.usageMetadata is None:
            return []
        events = [] if self.started else [self._start(chunk)]
        self._ending.see(chunk)
        try:
            for candidate in chunk.objects():
                events += self._candidate(candidate)
        except RecursionError:
            self.failed = True
        if chunk.blocked() and not self._choices:
            self._choices[0] = _Saying(0)
            events.append(ir.Stop("content_filter"))
        return events

    def _start(self, chunk: Chunk) -> ir.Event:
        self.started, self._id = True, chunk.responseId
        name, model = (value if isinstance(value, str) else "" for value in (chunk.responseId, chunk.modelVersion))
        return ir.Start(name, model, created(chunk.createTime))

    def _candidate(self, candidate: dict[str, Any]) -> list[ir.Event]:
        number = index_of(candidate)
        saying = self._choices.setdefault(number, _Saying(number))
        if saying.stopped:
            return []
        events: list[ir.Event] = []
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                for said in spoken(part, self._id, number, saying.count):
                    events += saying.say(said)
                    self._note(said)
                saying.count += 1
        tokens = logprobs_of(candidate)
        if tokens and saying.open is ir.Text:
            events.append(ir.Probabilities(saying.index, tokens, number))
        reason = candidate.get("finishReason")
        if reason not in (None, "", "FINISH_REASON_UNSPECIFIED"):
            saying.stopped = True
            events += [*saying.end(), ir.Stop(stop_of(reason, called=saying.called), choice=number)]
        return events

    def _note(self, said: Spoken) -> None:
        if isinstance(said, ir.ToolCall):
            self.texts += [said.name, said.arguments]
        elif said.text:
            self.texts.append(said.text)
