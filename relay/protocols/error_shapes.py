"""An error in each client dialect: as a body, as a stream's last event, and as an upstream's error in other words."""

from __future__ import annotations

import msgspec

from relay.errors import INVALID, RelayError
from relay.protocols.anthropic import errors as anthropic_errors
from relay.protocols.gemini import errors as gemini_errors

# Whose shape a dialect's errors have: a dialect that is not named has OpenAI's.
_FAMILIES = {
    "anthropic": "anthropic",
    "anthropic_count": "anthropic",
    "gemini": "gemini",
    "gemini_count": "gemini",
    "gemini_embed": "gemini",
    "gemini_models": "gemini",
}


def family(dialect: str) -> str:
    """Whose shape the errors of a dialect have: "openai", "anthropic" or "gemini"."""
    return _FAMILIES.get(dialect, "openai")


def error_body(error: RelayError, dialect: str) -> bytes:
    """An error as the body of an answer in a client's dialect."""
    return _body(error.status, error.code, error.message, error.kind.type, error.param, dialect)


def _body(status: int, code: str | None, message: str, kind: str, param: str | None, dialect: str) -> bytes:
    shape = family(dialect)
    if shape == "anthropic":
        return anthropic_errors.error_body(status, code or "", message)
    if shape == "gemini":
        return gemini_errors.error_body(status, code or "", message)
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def stream_error(error: RelayError, dialect: str, *, content_type: bytes = b"text/event-stream") -> bytes | None:
    """An error as the end of a stream in a client's dialect; None where the stream has no way to say it.

    OpenAI's SDKs raise on a chunk with `error`. Gemini's clients may read a JSON array instead of events.
    """
    shape, events = family(dialect), content_type.startswith(b"text/event-stream")
    if shape == "gemini":
        return gemini_errors.stream_error(error.status, error.code, error.message, sse=events)
    if not events:
        return None
    if shape == "anthropic":
        return anthropic_errors.stream_error(error.status, error.code, error.message)
    return b"data: " + error_body(error, dialect) + b"\n\n"


def reworded(body: bytes, status: int, spoken: str, dialect: str) -> bytes:
    """An upstream's error, in the dialect it `spoken`, in the client's envelope: the same message and code."""
    shape = family(spoken)
    kind: str | None = None
    code: str | None = None
    if shape == "anthropic":
        found = anthropic_errors.read_error(body)
        message, kind = found or ("", None)
        code = kind
    elif shape == "gemini":
        found = gemini_errors.read_error(body)
        message, code = found or ("", None)
    else:
        message, kind, code = _read_openai(body)
    message = message or f"The upstream refused this request with status {status}."
    return _body(status, code, message, kind or INVALID, None, dialect)


def _read_openai(body: bytes) -> tuple[str, str | None, str | None]:
    """(message, type, code) of an error as OpenAI and its likes write it, and Bedrock: `{"message": …}`."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", None, None
    inside = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(inside, str):
        return inside, None, None
    if not isinstance(inside, dict):
        return "", None, None
    message, kind, code = (inside.get(name) for name in ("message", "type", "code"))
    return (
        message if isinstance(message, str) else "",
        kind if isinstance(kind, str) else None,
        str(code) if isinstance(code, str | int) else None,
    )
