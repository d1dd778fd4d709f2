"""Anthropic's errors: `{"type": "error", "error": {"type", "message", "details"}}`, and the same as a stream's event.

Source: the documentation of Claude API errors; `ErrorType` and `extract_error_code` of the anthropic 2.12 package.
"""

from __future__ import annotations

import msgspec

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# Ours that are better known by what they are about than by their status.
_TYPES_OF_CODES = {"insufficient_balance": "billing_error", "budget_exceeded": "billing_error"}


def error_type(status: int, code: str = "") -> str:
    """Anthropic's word for an error."""
    return _TYPES_OF_CODES.get(code) or _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def error_body(status: int, code: str, message: str) -> bytes:
    """An error's body. The SDKs show `details.error_code`."""
    details = {"error_code": code} if code else None
    error = {"type": error_type(status, code), "message": message, "details": details}
    return msgspec.json.encode({"type": "error", "error": error})


def stream_error(status: int, code: str, message: str) -> bytes:
    """The same as an event in a stream: Anthropic's SDKs raise on it."""
    return b"event: error\ndata: " + error_body(status, code, message) + b"\n\n"


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Body(msgspec.Struct):
    error: _Error


def read_error(body: bytes) -> tuple[str, str] | None:
    """The message and the type of an upstream's error; None where the body is none."""
    try:
        error = msgspec.json.decode(body, type=_Body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return (error.message, error.type) if error.message else None
