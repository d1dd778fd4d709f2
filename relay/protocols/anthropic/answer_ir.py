"""Anthropic's Messages, the answer, to and from `relay.protocols.ir`.

Source of the format: `Message` of the anthropic 2.12 package.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.anthropic.answer import read_answer
from relay.protocols.anthropic.from_ir import tool_id
from relay.protocols.base import Request
from relay.protocols.fields import top_level, value_of
from relay.protocols.usage import anthropic_usage

_encode = msgspec.json.encode

_STOPS: dict[str, ir.StopReason] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "refusal",
    "model_context_window_exceeded": "context_window",
}
_REASONS = {stop: reason for reason, stop in _STOPS.items()} | {"content_filter": "refusal"}


def stop_of(reason: object) -> ir.StopReason:
    """Why an upstream stopped; what nobody here has heard of is the end of its turn."""
    return _STOPS.get(reason, "stop") if isinstance(reason, str) else "stop"


def as_text(value: object) -> str:
    """A text; "" for what is none."""
    return value if isinstance(value, str) else ""


def answer_to_ir(body: bytes) -> ir.Answer | None:
    """An upstream's message; None where the body is none. Blocks of tools that the upstream ran are left out."""
    read = read_answer(body)
    if read is None:
        return None
    try:
        fields = top_level.decode(body)
        blocks, *said = (value_of(fields, name) for name in ("content", "id", "model", "stop_reason", "stop_sequence"))
    except (msgspec.DecodeError, RelayError, UnicodeDecodeError, RecursionError):
        return None
    name, model, reason, sequence = said
    parts = [part for block in blocks if (part := _part(block)) is not None]
    choice = ir.Choice(parts, stop_of(reason), as_text(sequence) or None)
    return ir.Answer(as_text(name), as_text(model), 0, [choice], read.units)


def _part(block: Any) -> ir.Part | None:
    begun = begun_part(block)
    if isinstance(begun, ir.Text):
        begun.text = as_text(block.get("text"))
    elif isinstance(begun, ir.Reasoning):
        begun.text = as_text(block.get("thinking"))
        begun.signature = as_text(block.get("signature")) or None
        begun.redacted = as_text(block.get("data")) or None
    elif isinstance(begun, ir.ToolCall):
        begun.arguments = _encode(block.get("input") or {}).decode()
    return begun


def begun_part(block: Any) -> ir.Text | ir.Reasoning | ir.ToolCall | None:
    """The part that a block begins, without its content."""
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text":
        return ir.Text("")
    if kind in ("thinking", "redacted_thinking"):
        return ir.Reasoning(origin="anthropic")
    if kind == "tool_use":
        return ir.ToolCall(as_text(block.get("id")), as_text(block.get("name")))
    return None


def answer_from_ir(answer: ir.Answer, request: Request, seed: str, cost: str) -> bytes:
    """The message that a client gets."""
    choice = answer.choices[0] if answer.choices else ir.Choice([])
    message = new_message(seed, request.model)
    message["content"] = [block for part in choice.parts if (block := _block(part)) is not None]
    message["stop_reason"] = stop_reason(choice.stop, any(isinstance(part, ir.Refusal) for part in choice.parts))
    message["stop_sequence"] = choice.stop_sequence
    message["usage"] = anthropic_usage(answer.units or {})
    return _encode(message)


def new_message(seed: str, model: str) -> dict[str, Any]:
    """A message that says nothing yet. `seed`: 32 hexadecimal digits."""
    return {
        "id": f"msg_{seed}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def stop_reason(stop: ir.StopReason, refused: bool) -> str:
    """Why an answer stopped, in the client's words. `refused`: the model said why it does not answer."""
    return "refusal" if refused and stop == "stop" else _REASONS[stop]


def _block(part: ir.Part) -> dict[str, Any] | None:
    match part:
        case ir.Text() | ir.Refusal():
            return {"type": "text", "text": part.text}
        case ir.Reasoning():
            return thinking_block(part)
        case ir.ToolCall():
            return {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": _input(part.arguments)}
    return None


def thinking_block(part: ir.Reasoning) -> dict[str, Any] | None:
    """Thinking that its maker will know again; None where nothing is shown or kept."""
    ours = part.origin == "anthropic"
    if part.text or (ours and part.signature):
        signature = part.signature or "" if ours else ir.seal(part)
        return {"type": "thinking", "thinking": part.text, "signature": signature}
    if not (part.signature or part.redacted or part.id):
        return None
    return {"type": "redacted_thinking", "data": part.redacted if ours and part.redacted else ir.seal(part)}


def _input(arguments: str) -> Any:
    """A tool call's arguments, of which the dialect wants an object: what is none is shown under a name."""
    try:
        value = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        value = arguments
    # As it was written: a number may be beyond every type.
    return msgspec.Raw((arguments or "{}").encode()) if isinstance(value, dict) else {"arguments": arguments}
