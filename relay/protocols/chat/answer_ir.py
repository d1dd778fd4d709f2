"""OpenAI chat completions, whole answers: an upstream's as the neutral one, and that one as a client reads it.

Sources: the response types of the openai 3.54 package; Mistral's documentation for `content` as a list of chunks, of
which those of type "thinking" are reasoning; Ollama and others for calls without ids or with arguments as an object.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.base import Request
from relay.protocols.chat import reasoning
from relay.protocols.chat.from_ir import call
from relay.protocols.fields import given
from relay.protocols.usage import openai_units, openai_usage

# Why an answer ended. Mistral says "model_length" where the context window was full.
_STOPS: dict[str, ir.StopReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "model_length": "context_window",
}
_REASONS: dict[ir.StopReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "stop_sequence": "stop",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "context_window": "length",
    "pause": "stop",
}


def stop_of(reason: object, *, calls: bool) -> ir.StopReason:
    """Why an answer ended: some servers say "stop" where tools are called; reasons nobody knows are "stop"."""
    stop = _STOPS.get(reason, "stop") if isinstance(reason, str) else "stop"
    return "tool_calls" if stop == "stop" and calls else stop


def reason_of(stop: ir.StopReason) -> str:
    """The finish reason: a classifier's refusal is a filter's, what exceeds the context window is too long."""
    return _REASONS[stop]


def text_of(value: object) -> str:
    """A string, or what stands for one."""
    return value if isinstance(value, str) else ""


def time_of(value: object) -> int:
    """Seconds since 1970; 0 where nobody says when."""
    return int(value) if isinstance(value, int | float) and 0 < value < 2**40 else 0


def call_id(value: object) -> str:
    """A call's id, or a new one where the upstream gave none."""
    return text_of(value) or f"call_{secrets.token_hex(12)}"


def arguments_of(value: object) -> str:
    """A call's arguments as JSON text."""
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return text_of(value)


def content_of(content: object) -> list[ir.Text | ir.Reasoning]:
    """What a message or a delta says, as a string or as a list of chunks."""
    found: list[ir.Text | ir.Reasoning] = []
    for chunk in content if isinstance(content, list) else [content]:
        if isinstance(chunk, dict) and chunk.get("type") == "thinking":
            inside = chunk.get("thinking")
            pieces = inside if isinstance(inside, list) else [inside]
            text = "".join(text_of(p.get("text") if isinstance(p, dict) else p) for p in pieces)
            found.append(ir.Reasoning(text, "chat"))
        else:
            found.append(ir.Text(text_of(chunk.get("text") if isinstance(chunk, dict) else chunk)))
    return [part for part in found if part.text]


def answer_to_ir(body: bytes) -> ir.Answer | None:
    """An upstream's body; None where it is no answer."""
    try:
        answer = msgspec.json.decode(body)
        if not isinstance(answer, dict) or answer.get("error") is not None:
            return None
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
            return None
        return ir.Answer(
            text_of(answer.get("id")),
            text_of(answer.get("model")),
            time_of(answer.get("created")),
            [_choice(choice) for choice in choices],
            openai_units(answer.get("usage")),
        )
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError):
        return None


def _choice(choice: dict[str, Any]) -> ir.Choice:
    message = choice.get("message")
    parts = _parts(message if isinstance(message, dict) else {})
    calls = any(isinstance(part, ir.ToolCall) for part in parts)
    logprobs = choice.get("logprobs")
    tokens = logprobs_of(logprobs.get("content")) if isinstance(logprobs, dict) else []
    return ir.Choice(parts, stop_of(choice.get("finish_reason"), calls=calls), logprobs=tokens or None)


def _parts(message: dict[str, Any]) -> list[ir.Part]:
    parts: list[ir.Part] = [*reasoning.read(message, upstream=True), *content_of(message.get("content"))]
    if refusal := text_of(message.get("refusal")):
        parts.append(ir.Refusal(refusal))
    calls = message.get("tool_calls")
    for said in calls if isinstance(calls, list) else []:
        if isinstance(said, dict) and (part := _call(said)) is not None:
            parts.append(part)
    old = message.get("function_call")
    if isinstance(old, dict) and (part := _call({"function": old})) is not None:
        parts.append(part)
    return parts


def _call(said: dict[str, Any]) -> ir.ToolCall | None:
    custom = isinstance(said.get("custom"), dict)
    called = said.get("custom" if custom else "function")
    if not isinstance(called, dict) or not isinstance(called.get("name"), str):
        return None
    return ir.ToolCall(
        call_id(said.get("id")), called["name"], arguments_of(called.get("input" if custom else "arguments")), custom
    )


def logprobs_of(tokens: object) -> list[ir.Logprob]:
    """Log probabilities; what is not one is passed over."""
    found = []
    for said in tokens if isinstance(tokens, list) else []:
        value = said.get("logprob") if isinstance(said, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            others = logprobs_of(said.get("top_logprobs"))
            found.append(ir.Logprob(text_of(said.get("token")), float(value), others))
    return found


def logprobs_object(tokens: list[ir.Logprob]) -> dict[str, Any]:
    """`logprobs` of a choice."""
    return {"content": [{**_token(t), "top_logprobs": [_token(other) for other in t.top]} for t in tokens]}


def _token(said: ir.Logprob) -> dict[str, Any]:
    return {"token": said.token, "logprob": said.logprob, "bytes": list(said.token.encode("utf-8", "replace"))}


def usage_with_cost(units: dict[str, int] | None, cost: str) -> dict[str, Any]:
    """`usage`, with `cost` in USD as this relay tells it."""
    return {**openai_usage(units or {}), "cost": msgspec.Raw(cost.encode())}


def is_old(request: Request) -> bool:
    """Whether a client knows only `functions`, not `tools`: its answers have `function_call`."""
    return given(request.fields, "functions") and not given(request.fields, "tools")


def answer_from_ir(answer: ir.Answer, request: Request, seed: str, cost: str) -> bytes:
    """A whole answer as the client reads it."""
    old = is_old(request)
    return msgspec.json.encode(
        {
            "id": f"chatcmpl-{seed}",
            "object": "chat.completion",
            "created": answer.created or int(time.time()),
            "model": answer.model or request.model,
            "choices": [_choice_object(choice, number, old) for number, choice in enumerate(answer.choices)],
            "usage": usage_with_cost(answer.units, cost),
        }
    )


def _choice_object(choice: ir.Choice, number: int, old: bool) -> dict[str, Any]:
    parts = choice.parts
    text = "".join(part.text for part in parts if isinstance(part, ir.Text))
    refusal = "".join(part.text for part in parts if isinstance(part, ir.Refusal))
    thoughts = [part for part in parts if isinstance(part, ir.Reasoning)]
    calls = [call(part) for part in parts if isinstance(part, ir.ToolCall)]
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": refusal or None}
    if shown := "".join(part.text for part in thoughts):
        message["reasoning_content"] = shown
    if thoughts:
        details = [entry for index, part in enumerate(thoughts) for entry in reasoning.entries(part, index)]
        message["reasoning_details"] = details
    reason = reason_of(choice.stop)
    if old and len(calls) == 1 and "function" in calls[0]:
        message["function_call"] = calls[0]["function"]
        reason = "function_call" if reason == "tool_calls" else reason
    elif calls:
        message["tool_calls"] = calls
    logprobs = logprobs_object(choice.logprobs) if choice.logprobs else None
    return {"index": number, "message": message, "logprobs": logprobs, "finish_reason": reason}
