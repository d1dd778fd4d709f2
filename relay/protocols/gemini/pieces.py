"""Pieces of Gemini's answers: why one ends, when it was made, its log probabilities, and how it is written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from relay.protocols import ir
from relay.protocols.gemini.fields import encode
from relay.protocols.gemini.parts import Turn, arguments_of, call_part

# What is not listed (STOP, OTHER, a malformed call, a language that the model does not speak) is an end like any other.
_STOPS: dict[str, ir.StopReason] = {
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "IMAGE_SAFETY"),
            *("IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "ESCALATION", "PUP_LIMITED_DISABLED"),
        ),
        "content_filter",
    ),
}
_REASONS = {"length": "MAX_TOKENS", "context_window": "MAX_TOKENS", "content_filter": "SAFETY", "refusal": "SAFETY"}


def created(time: Any) -> int:
    """Seconds since 1970 of an RFC 3339 time; 0 where it is not told."""
    try:
        return max(0, int(datetime.fromisoformat(time).timestamp())) if isinstance(time, str) else 0
    except (ValueError, OverflowError):
        return 0


def stop_of(reason: Any, *, called: bool) -> ir.StopReason:
    """A `finishReason` in neutral words: after a call, an ordinary end asks for the tools."""
    stop = _STOPS.get(reason, "stop") if isinstance(reason, str) else "stop"
    return "tool_calls" if called and stop == "stop" else stop


def reason_of(stop: ir.StopReason) -> str:
    """The `finishReason` of a stop reason."""
    return _REASONS.get(stop, "STOP")


def logprobs_of(candidate: dict[str, Any]) -> list[ir.Logprob] | None:
    """A candidate's log probabilities; None where it has none."""
    result = candidate.get("logprobsResult")
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(chosen, list):
        return None
    found = [_logprob(item) for item in chosen]
    tops = result.get("topCandidates")
    for token, top in zip(found, tops if isinstance(tops, list) else (), strict=False):
        others = top.get("candidates") if isinstance(top, dict) else None
        token.top = [_logprob(item) for item in others] if isinstance(others, list) else []
    return found


def _logprob(item: Any) -> ir.Logprob:
    item = item if isinstance(item, dict) else {}
    token, value = item.get("token"), item.get("logProbability")
    number = (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9 else 0.0
    )
    return ir.Logprob(token if isinstance(token, str) else "", number)


def logprobs_result(tokens: list[ir.Logprob]) -> dict[str, Any]:
    """A `logprobsResult`."""
    result: dict[str, Any] = {"chosenCandidates": [_written(token) for token in tokens]}
    if any(token.top for token in tokens):
        result["topCandidates"] = [{"candidates": [_written(other) for other in token.top]} for token in tokens]
    return result


def _written(token: ir.Logprob) -> dict[str, Any]:
    return {"token": token.token, "logProbability": token.logprob}


def candidate_of(number: int, choice: ir.Choice) -> dict[str, Any]:
    """A whole candidate."""
    turn, reason = Turn(), reason_of(choice.stop)
    for part in choice.parts:
        if isinstance(part, ir.Reasoning):
            turn.think(part)
        elif isinstance(part, ir.Text | ir.Refusal):
            turn.say({"text": part.text})
        elif isinstance(part, ir.ToolCall):
            args = arguments_of(part)
            if args is not None:
                turn.say(call_part(part, args))
            elif reason == "STOP":
                reason = "MALFORMED_FUNCTION_CALL"
    turn.flush()
    candidate: dict[str, Any] = {"content": {"parts": turn.parts, "role": "model"}, "finishReason": reason}
    candidate["index"] = number
    if choice.logprobs is not None:
        candidate["logprobsResult"] = logprobs_result(choice.logprobs)
    return candidate


def response(model: str, seed: str, candidates: list[dict[str, Any]], **more: Any) -> bytes:
    """A response as JSON."""
    return encode({"candidates": candidates, **more, "modelVersion": model, "responseId": seed})
