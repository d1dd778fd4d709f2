"""Amazon Bedrock's Converse, the answer, to `relay.protocols.ir`.

Source of the format: `ConverseResponse` of botocore 1.44 (`bedrock-runtime/2023-09-30`). It has neither id nor model.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.usage import bedrock_units

_encode = msgspec.json.encode

# What is not listed (a malformed call, output that could not be read) is an end like any other.
_STOPS: dict[str, ir.StopReason] = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "model_context_window_exceeded": "context_window",
}


def as_text(value: object) -> str:
    """A text; "" for what is none."""
    return value if isinstance(value, str) else ""


def as_object(value: object) -> dict[str, Any]:
    """An object; {} for what is none."""
    return value if isinstance(value, dict) else {}


def stop_of(reason: object) -> ir.StopReason:
    """Why a model stopped."""
    return _STOPS.get(as_text(reason), "stop")


def sequence_of(said: dict[str, Any]) -> str | None:
    """The stop sequence that was met, of an answer or of a stream's end, where the model was asked to say it."""
    return as_text(as_object(said.get("additionalModelResponseFields")).get("stop_sequence")) or None


def answer_to_ir(body: bytes) -> ir.Answer | None:
    """An upstream's answer; None where the body is none. Blocks of tools that the upstream ran are left out."""
    try:
        answer = as_object(msgspec.json.decode(body))
        content = as_object(as_object(answer.get("output")).get("message")).get("content")
        if not isinstance(content, list):
            return None
        parts = [part for block in content if (part := _part(as_object(block))) is not None]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    choice = ir.Choice(parts, stop_of(answer.get("stopReason")), sequence_of(answer))
    return ir.Answer("", "", 0, [choice], bedrock_units(answer.get("usage")))


def _part(block: dict[str, Any]) -> ir.Part | None:
    if isinstance(block.get("text"), str):
        return ir.Text(block["text"])
    if "toolUse" in block:
        call = begun_call(block["toolUse"])
        if call is not None:
            call.arguments = _encode(block["toolUse"].get("input") or {}).decode()
        return call
    if "reasoningContent" in block:
        inside = as_object(block["reasoningContent"])
        said = as_object(inside.get("reasoningText"))
        redacted = as_text(inside.get("redactedContent")) or None
        return ir.Reasoning(as_text(said.get("text")), "bedrock", as_text(said.get("signature")) or None, redacted)
    if "citationsContent" in block:
        cited = as_object(block["citationsContent"]).get("content")
        return ir.Text("".join(as_text(as_object(c).get("text")) for c in cited)) if isinstance(cited, list) else None
    return None


def begun_call(call: object) -> ir.ToolCall | None:
    """A call of a client's tool, without its arguments; None for one that the upstream ran itself."""
    if not isinstance(call, dict) or call.get("type") == "server_tool_use":
        return None
    return ir.ToolCall(as_text(call.get("toolUseId")), as_text(call.get("name")))
