"""Errors in Google's words: `{"error": {"code", "message", "status"}}`, where `status` is a google.rpc code.

Source: google.rpc.Status and google.rpc.Code; `APIError` of the google-genai 3.4 package, which raises on an event with
`error` too. What our own code says (`insufficient_balance`, …) stands in `details`, as Google's own reasons do.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_body(status: int, code: str, message: str) -> bytes:
    """An error's body. `code` is our own word for it, "" where there is none."""
    error: dict[str, Any] = {"code": status, "message": message, "status": STATUSES.get(status, "UNKNOWN")}
    if code:
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code.upper(), "domain": "costrouter"}
        error["details"] = [info]
    try:
        return msgspec.json.encode({"error": error})
    except UnicodeEncodeError:  # half a character, quoted from somebody
        return json.dumps({"error": error}).encode()


def stream_error(status: int, code: str, message: str, *, sse: bool = True, begun: bool = True) -> bytes:
    """The same as the last event of a stream; where the client reads a JSON array, as its last item."""
    body = error_body(status, code, message)
    if sse:
        return b"data: " + body + b"\r\n\r\n"
    return (b",\r\n" if begun else b"[") + body + b"]"


def read_error(body: bytes) -> tuple[str, str] | None:
    """Message and google.rpc status of an error's body (or of an array with one); None for anything else."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return None
    status, code = error.get("status"), error.get("code")
    if not isinstance(status, str):
        status = STATUSES.get(code, "UNKNOWN") if isinstance(code, int) else "UNKNOWN"
    return error["message"], status
