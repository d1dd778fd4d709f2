"""Reasoning in chat completions, which OpenAI's own types leave out.

Sources: `reasoning_content` as DeepSeek and vLLM document it; `reasoning` and `reasoning_details` as OpenRouter does:
entries `{type: "reasoning.text" | "reasoning.summary" | "reasoning.encrypted", text | summary | data, signature, id,
format, index}`, of which those of one index are one block, and which a client sends back as they came. OpenAI's SDK
merges streamed entries by `index` too.

To a client, `format` says who made a block; from an upstream it is that upstream's own affair, and comes back to it.
So an origin is "chat", or "chat/" and a format; of others OpenRouter's name for the format stands for the dialect.
"""

from __future__ import annotations

from typing import Any

from relay.protocols.ir import Reasoning

_FORMATS = {
    "anthropic": "anthropic-claude-v1",
    "gemini": "google-gemini-v1",
    "responses": "openai-responses-v1",
    "bedrock": "bedrock-converse-v1",
}
_DIALECTS = {name: dialect for dialect, name in _FORMATS.items()}
TEXT, SUMMARY, ENCRYPTED = "reasoning.text", "reasoning.summary", "reasoning.encrypted"


def is_own(origin: str) -> bool:
    """Whether an upstream of this dialect made it."""
    return origin == "chat" or origin.startswith("chat/")


def origin_of(form: object, *, upstream: bool) -> str:
    """Who made a block of some format, as an upstream or a client says it."""
    if not isinstance(form, str) or not form or form == "unknown":
        return "chat"
    return _DIALECTS.get(form, f"chat/{form}") if not upstream else f"chat/{form}"


def format_of(origin: str) -> str | None:
    """The format of a block; None where there is nothing to say."""
    return _FORMATS.get(origin, origin.removeprefix("chat").removeprefix("/")) or None


def stamp(part: Reasoning, index: int) -> dict[str, Any]:
    """What every entry of a block says beside its content."""
    said = {"id": part.id, "format": format_of(part.origin)}
    return {name: value for name, value in said.items() if value is not None} | {"index": index}


def text_entry(origin: str, text: str) -> dict[str, Any]:
    """An entry, or a piece of one, with text: OpenAI shows summaries only."""
    return {"type": SUMMARY, "summary": text} if "responses" in origin else {"type": TEXT, "text": text}


def sealed_entry(signature: str | None, redacted: str | None) -> dict[str, Any]:
    """An entry, or a piece of one, with what only the maker can read."""
    return {"type": TEXT, "signature": signature} if redacted is None else {"type": ENCRYPTED, "data": redacted}


def entries(part: Reasoning, index: int) -> list[dict[str, Any]]:
    """A block as `reasoning_details` has it."""
    found = []
    if part.text:
        found.append(text_entry(part.origin, part.text))
    if part.signature is not None:
        found = [{**(found[0] if found else {}), **sealed_entry(part.signature, None)}]
    if part.redacted is not None:
        found.append(sealed_entry(None, part.redacted))
    return [{**entry, **stamp(part, index)} for entry in found]


def piece_of(entry: object, *, upstream: bool) -> Reasoning | None:
    """What one entry says; None where it says nothing."""
    if not isinstance(entry, dict):
        return None
    piece = Reasoning(
        _text(entry.get("text")) or _text(entry.get("summary")) or "",
        origin_of(entry.get("format"), upstream=upstream),
        _text(entry.get("signature")),
        _text(entry.get("data")),
        _text(entry.get("id")),
    )
    return piece if piece.text or piece.signature or piece.redacted else None


def continues(part: Reasoning, piece: Reasoning) -> bool:
    """Whether a piece of the same index belongs to a block so far: nothing follows what seals it, but another seal."""
    if piece.text:
        return part.signature is None and part.redacted is None
    return (piece.signature is None or part.signature is None) and (piece.redacted is None or part.redacted is None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def blocks(details: object, *, upstream: bool) -> list[Reasoning]:
    """The blocks of `reasoning_details`, entries of one index joined. What is not an entry is passed over."""
    found: list[Reasoning] = []
    last: object = None
    for entry in details if isinstance(details, list) else []:
        piece = piece_of(entry, upstream=upstream)
        if piece is None:
            continue
        index = entry.get("index")
        if found and index is not None and index == last and continues(found[-1], piece):
            part = found[-1]
            part.text += piece.text
            part.origin = piece.origin if part.origin == "chat" else part.origin
            part.signature, part.redacted = piece.signature or part.signature, piece.redacted or part.redacted
            part.id = part.id or piece.id
        else:
            found.append(piece)
        last = index
    return found


def read(message: dict[str, Any], *, upstream: bool) -> list[Reasoning]:
    """The reasoning of a message: its details, or else its text under either name."""
    found = blocks(message.get("reasoning_details"), upstream=upstream)
    text = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
    return found or ([Reasoning(text, "chat")] if text else [])
