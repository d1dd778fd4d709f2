"""What Gemini's conversations are made of: parts of a model's turn, thought signatures, ids of calls.

Gemini signs its thoughts on the part that follows them (a call, a text), and Gemini 3 refuses a turn whose first call
has no signature. `thoughtSignature` is base64 on the wire, and clients decode it: what another maker signed is sealed
and written as base64 of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.gemini.fields import json_text

# Google's own word for a call that Gemini did not make ("Thought signatures" in the Gemini API's guide).
NO_SIGNATURE = "skip_thought_signature_validator"
# Arguments that nest deeper than this are no tool's.
MAX_DEPTH = 200
_URLSAFE = str.maketrans("+/", "-_")
Spoken = ir.Text | ir.Reasoning | ir.ToolCall


def sealed(part: ir.Reasoning) -> str:
    """A signature that is another maker's reasoning."""
    return base64.urlsafe_b64encode(ir.seal(part).encode()).decode()


def unsealed(signature: str, text: str) -> ir.Reasoning | None:
    """The reasoning behind such a signature; None for one that Gemini made."""
    try:
        inside = base64.urlsafe_b64decode(signature.translate(_URLSAFE) + "=" * (-len(signature) % 4))
        return ir.unseal(inside.decode("ascii"), text)
    except (binascii.Error, ValueError):
        return None


def reasoning(text: str, signature: Any) -> ir.Reasoning:
    """What a thought, or a signature alone, says."""
    if not isinstance(signature, str) or signature in ("", NO_SIGNATURE):
        return ir.Reasoning(text, "gemini")
    return unsealed(signature, text) or ir.Reasoning(text, "gemini", signature)


def call_id(*of: object) -> str:
    """An id for a call that came without one: the same each time the same call is read."""
    return "call_" + hashlib.sha256("\0".join(map(str, of)).encode("utf-8", "replace")).hexdigest()[:24]


def spoken(part: dict[str, Any], *of: object) -> list[Spoken]:
    """What a part of a model's turn says: a thought, a text, a call, with the signature before it. [] for other parts.

    `of`: what a call's id is derived from, where it has none.
    """
    text, call, signature = part.get("text"), part.get("functionCall"), part.get("thoughtSignature")
    thought = part.get("thought") is True and call is None
    lead = reasoning(text if thought and isinstance(text, str) else "", signature)
    found: list[Spoken] = [lead] if lead != ir.Reasoning("", "gemini") else []
    if thought:
        return found
    if isinstance(call, dict):
        name, args = call.get("name"), call.get("args")
        name = name if isinstance(name, str) else ""
        arguments = json_text(args if isinstance(args, dict) else {})
        given = call.get("id")
        known = given if isinstance(given, str) and given else call_id(*of, name, arguments)
        found.append(ir.ToolCall(known, name, arguments))
    elif isinstance(text, str) and text:
        found.append(ir.Text(text))
    return found


def arguments_of(call: ir.ToolCall) -> dict[str, Any] | None:
    """A call's arguments; None where they are no JSON object."""
    if call.custom:
        return None
    try:
        args = msgspec.json.decode(call.arguments.encode("utf-8", "surrogatepass") or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return args if isinstance(args, dict) and is_shallow(args) else None


def is_shallow(value: Any) -> bool:
    """Whether a value nests so little that it can be written inside others."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False


def call_part(call: ir.ToolCall, args: dict[str, Any]) -> dict[str, Any]:
    return {"functionCall": {"id": call.id, "name": call.name, "args": args}}


class Turn:
    """Writes a model's turn part by part: a signature that came alone goes on the part after it."""

    __slots__ = ("_signature", "parts")

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self._signature: str | None = None

    def think(self, part: ir.Reasoning) -> None:
        """Reasoning: Gemini's own as Gemini has it, another maker's sealed."""
        self.flush()
        if part.origin != "gemini" or part.redacted or part.id:
            self.parts.append({"text": part.text, "thought": True, "thoughtSignature": sealed(part)})
        elif part.text:
            thought: dict[str, Any] = {"text": part.text, "thought": True}
            self.parts.append(thought | ({"thoughtSignature": part.signature} if part.signature else {}))
        else:
            self._signature = part.signature

    def say(self, part: dict[str, Any]) -> None:
        """Anything else."""
        if self._signature is not None:
            part["thoughtSignature"], self._signature = self._signature, None
        self.parts.append(part)

    def flush(self) -> None:
        """A signature that nothing follows goes on an empty text, as Gemini sends it at the end of a stream."""
        if self._signature is not None:
            self.say({"text": ""})
