"""Gemini's streamed answer for a client, from the neutral events."""

from __future__ import annotations

from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.base import Request
from relay.protocols.gemini.answer import Framing
from relay.protocols.gemini.parts import Turn, arguments_of, call_part
from relay.protocols.gemini.pieces import logprobs_result, reason_of, response
from relay.protocols.usage import gemini_usage

_MALFORMED = "MALFORMED_FUNCTION_CALL"


class _Part:
    """A part that is being written. Reasoning's text goes at once, its seal at its end; a call goes whole."""

    __slots__ = ("text", "what")

    def __init__(self, what: ir.Text | ir.Refusal | ir.Reasoning | ir.ToolCall) -> None:
        self.what = msgspec.structs.replace(what)
        self.text: list[str] = []


class Encoder:
    """A streamed answer as Gemini writes it: see `relay.protocols.base.Encoder`."""

    __slots__ = ("_framing", "_model", "_open", "_reasons", "_seed", "_turns")

    def __init__(self, request: Request, seed: str) -> None:
        self._framing = Framing(request)
        self._model, self._seed = request.model, seed
        self._open: dict[int, _Part] = {}
        self._turns: dict[int, Turn] = {}
        self._reasons: dict[int, str] = {}

    def encode(self, event: ir.Event) -> bytes:
        """What goes to the client now."""
        if isinstance(event, ir.Start):
            self._model = event.model or self._model
        elif isinstance(event, ir.PartStart):
            self._open[event.choice] = _Part(event.part)
            if not isinstance(event.part, ir.Reasoning | ir.ToolCall) and event.part.text:
                return self._say(event.choice, {"text": event.part.text})
        elif isinstance(event, ir.Stop):
            self._reasons[event.choice] = self._reasons.get(event.choice) or reason_of(event.reason)
            if self._reasons[event.choice] == _MALFORMED and reason_of(event.reason) != "STOP":
                self._reasons[event.choice] = reason_of(event.reason)
        elif (part := self._open.get(event.choice)) is not None:
            return self._more(part, event)
        return b""

    def _more(self, part: _Part, event: ir.Delta | ir.Sealed | ir.Probabilities | ir.PartEnd) -> bytes:
        what, choice = part.what, event.choice
        if isinstance(event, ir.Probabilities):
            return self._chunk({"index": choice, "logprobsResult": logprobs_result(event.tokens)})
        if isinstance(event, ir.Sealed):
            if isinstance(what, ir.Reasoning):
                what.signature = event.signature or what.signature
                what.redacted = event.redacted or what.redacted
            return b""
        if isinstance(event, ir.Delta):
            if isinstance(what, ir.ToolCall):
                part.text.append(event.text)
                return b""
            if isinstance(what, ir.Reasoning):
                part.text.append(event.text)
                return self._say(choice, {"text": event.text, "thought": True})
            return self._say(choice, {"text": event.text})
        del self._open[choice]
        return self._end(what, "".join(part.text), choice)

    def _end(self, what: ir.Part, text: str, choice: int) -> bytes:
        turn = self._turns.setdefault(choice, Turn())
        if isinstance(what, ir.Reasoning):
            if what.origin == "gemini" and text:
                if not what.signature:
                    return b""
                turn.say({"text": "", "thought": True, "thoughtSignature": what.signature})
            else:
                # The text went before; the seal stands on an empty thought, and holds for all of it.
                turn.think(ir.Reasoning("", what.origin, what.signature, what.redacted, what.id))
        elif isinstance(what, ir.ToolCall):
            what.arguments += text
            args = arguments_of(what)
            if args is None:
                self._reasons[choice] = _MALFORMED
                return b""
            turn.say(call_part(what, args))
        return self._written(choice)

    def _say(self, choice: int, part: dict[str, Any]) -> bytes:
        self._turns.setdefault(choice, Turn()).say(part)
        return self._written(choice)

    def _written(self, choice: int) -> bytes:
        """The parts that are complete, as a chunk."""
        turn = self._turns[choice]
        parts, turn.parts = turn.parts, []
        return self._chunk({"content": {"parts": parts, "role": "model"}, "index": choice}) if parts else b""

    def _chunk(self, candidate: dict[str, Any]) -> bytes:
        return self._framing.response(response(self._model, self._seed, [candidate]))

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """The finish reasons and the usage, held until the charge is committed."""
        candidates = []
        for choice, reason in sorted(self._reasons.items()):
            turn = self._turns.setdefault(choice, Turn())
            turn.flush()
            parts, turn.parts = turn.parts or [{"text": ""}], []
            candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": reason, "index": choice}
            candidates.append(candidate)
        end = response(self._model, self._seed, candidates, usageMetadata=gemini_usage(units))
        return b"", self._framing.response(end) + self._framing.end()
