"""THE table of errors, and their shape in each client dialect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from relay.protocols import anthropic_errors, gemini_errors


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """An error's HTTP status and its `type` in OpenAI's words."""

    status: int
    type: str


_INVALID = "invalid_request_error"
ERRORS: dict[str, ErrorKind] = {
    "invalid_json": ErrorKind(400, _INVALID),
    "invalid_request": ErrorKind(400, _INVALID),
    "missing_model": ErrorKind(400, _INVALID),
    "unsupported_field": ErrorKind(400, _INVALID),
    "unpriced_model": ErrorKind(400, _INVALID),
    "unpriced_feature": ErrorKind(400, _INVALID),
    "stored_state": ErrorKind(400, _INVALID),
    "unsupported_endpoint": ErrorKind(400, _INVALID),
    "unsupported_encoding": ErrorKind(400, _INVALID),
    "invalid_api_key": ErrorKind(401, "authentication_error"),
    "key_disabled": ErrorKind(403, "permission_error"),
    "key_expired": ErrorKind(403, "permission_error"),
    "user_suspended": ErrorKind(403, "permission_error"),
    "organization_suspended": ErrorKind(403, "permission_error"),
    "ip_not_allowed": ErrorKind(403, "permission_error"),
    "group_not_allowed": ErrorKind(403, "permission_error"),
    "model_not_allowed": ErrorKind(403, "permission_error"),
    "insufficient_balance": ErrorKind(403, "insufficient_quota"),
    "budget_exceeded": ErrorKind(403, "insufficient_quota"),
    "not_found": ErrorKind(404, _INVALID),
    "model_not_found": ErrorKind(404, _INVALID),
    "method_not_allowed": ErrorKind(405, _INVALID),
    "body_too_large": ErrorKind(413, _INVALID),
    "client_gone": ErrorKind(499, _INVALID),
    "refused_by_upstream": ErrorKind(400, _INVALID),
    "rate_limit_exceeded": ErrorKind(429, "rate_limit_error"),
    "upstream_rate_limited": ErrorKind(429, "rate_limit_error"),
    "internal_error": ErrorKind(500, "server_error"),
    "upstream_error": ErrorKind(502, "upstream_error"),
    "no_channel": ErrorKind(503, "server_error"),
    "unavailable": ErrorKind(503, "server_error"),
    "shutting_down": ErrorKind(503, "server_error"),
    "upstream_timeout": ErrorKind(504, "upstream_error"),
}


class RelayError(Exception):
    """A request that is answered with an error. The message is for the client: no upstream's words, no secrets."""

    def __init__(
        self, code: str, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        # It may quote the client, and what JSON can say is not always text: a lone surrogate has no UTF-8.
        self.message = message.encode("utf-8", "replace").decode()
        self.param = param
        self.kind = ERRORS[code]
        self.headers = dict(headers or {})
        if self.kind.status == 403:
            # OpenAI's SDKs honour it: asking again changes nothing.
            self.headers["x-should-retry"] = "false"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.kind.status


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


def stream_error(error: RelayError, dialect: str) -> bytes:
    """An error as the last event of a stream in a client's dialect.

    OpenAI's SDKs raise on a chunk with `error`; a Responses stream has an event of its own for it.
    """
    shape = family(dialect)
    if shape == "anthropic":
        return anthropic_errors.stream_error(error.status, error.code, error.message)
    if shape == "gemini":
        return gemini_errors.stream_error(error.status, error.code, error.message)
    body = error_body(error, dialect)
    if dialect == "responses":
        inside = msgspec.json.decode(body)
        event = {"type": "error", "code": error.code, "message": error.message, "param": error.param, **inside}
        return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"
    return b"data: " + body + b"\n\n"


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
    return _body(status, code, message, kind or _INVALID, None, dialect)


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
