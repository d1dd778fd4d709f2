"""Items of Responses: their types as far as they are converted, and what a model made, in `relay.protocols.ir`.

Source of the format: the request and response types of the openai 3.54 package. Unknown fields inside are passed over:
clients send an answer's items back with all that these had.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols import ir

ORIGIN = "responses"
ELSEWHERE = "it speaks another format than Responses"


class InputAudio(msgspec.Struct):
    data: str
    format: str


class Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    input_audio: InputAudio | None = None
    logprobs: Any = None
    prompt_cache_breakpoint: Any = None


class Item(msgspec.Struct):
    type: str | None = None
    role: str | None = None
    content: str | list[Part] | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Any = None
    input: Any = None
    output: str | list[Part] | dict[str, Any] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None


_ITEM = msgspec.json.Decoder(Item)
TEXT_TYPES = ("input_text", "output_text", "text")


def item_of(raw: bytes | msgspec.Raw) -> Item | None:
    """An upstream's item; None for one that nobody here can read."""
    try:
        return _ITEM.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def invalid(message: str, field: str | None = "input") -> RelayError:
    return RelayError("invalid_request", message, param=field)


def call_of(item: Item, where: str) -> ir.ToolCall:
    """A call of a function or of a custom tool."""
    custom = item.type == "custom_tool_call"
    text = item.input if custom else item.arguments
    if not item.call_id or not item.name or not isinstance(text, str | None):
        raise invalid(f"{where} lacks its call_id, its name or its text.")
    return ir.ToolCall(item.call_id, joined(item.namespace, item.name), text or "", custom)


def joined(namespace: str | None, name: str) -> str:
    """A tool's name where there are no namespaces."""
    return name if namespace is None else f"{namespace}__{name}"


def reasoning_of(item: Item) -> ir.Reasoning:
    """What a model thought: the maker's own, or what we sealed for a client. A summary stands for the text."""
    texts = [part.text for part in item.summary or [] if part.text]
    if not texts and isinstance(item.content, list):
        texts = [part.text for part in item.content if part.text]
    text = "\n\n".join(texts)
    sealed = ir.unseal(item.encrypted_content, text) if item.encrypted_content else None
    return sealed or ir.Reasoning(text, ORIGIN, redacted=item.encrypted_content or None, id=item.id)


def said(part: Part) -> ir.Text | ir.Refusal | None:
    """What a part says; None where it is not text."""
    if part.type in TEXT_TYPES and part.text is not None:
        return ir.Text(part.text)
    if part.type == "refusal" and part.refusal is not None:
        return ir.Refusal(part.refusal)
    return None


def made_parts(item: Item) -> list[ir.Text | ir.Refusal | ir.Reasoning | ir.ToolCall]:
    """What an item of an upstream's output says; nothing for what it should not have made."""
    if item.type == "message":
        content = [Part("output_text", item.content)] if isinstance(item.content, str) else item.content or []
        return [found for part in content if (found := said(part)) is not None and found.text]
    if item.type == "reasoning":
        thought = reasoning_of(item)
        return [thought] if thought.text or thought.redacted or thought.signature else []
    if item.type in ("function_call", "custom_tool_call"):
        try:
            return [call_of(item, "output")]
        except RelayError:
            return []
    return []


class _Token(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_Token] | None = None


def logprobs_of(value: Any) -> list[ir.Logprob]:
    """Log probabilities of tokens; [] where they are not told."""
    try:
        tokens = msgspec.convert(value or [], list[_Token])
    except (msgspec.ValidationError, RecursionError):
        return []
    return [
        ir.Logprob(t.token, t.logprob, [ir.Logprob(other.token, other.logprob) for other in t.top_logprobs or []])
        for t in tokens
    ]


def logprobs_from(tokens: list[ir.Logprob]) -> list[dict[str, Any]]:
    """Log probabilities as the dialect has them."""
    return [{**_token(token), "top_logprobs": [_token(other) for other in token.top]} for token in tokens]


def _token(token: ir.Logprob) -> dict[str, Any]:
    told = token.token.encode("utf-8", "surrogatepass")
    return {"token": token.token, "bytes": list(told), "logprob": token.logprob}


def stop_of(status: object, details: object, *, called: bool) -> ir.StopReason:
    """Why an answer ended."""
    if status != "incomplete":
        return "tool_calls" if called else "stop"
    reason = details.get("reason") if isinstance(details, dict) else None
    return "content_filter" if reason == "content_filter" else "length"
