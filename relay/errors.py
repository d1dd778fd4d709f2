"""THE table of errors. Their shape in each client dialect is `relay.protocols.error_shapes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """An error's HTTP status and its `type` in OpenAI's words."""

    status: int
    type: str


INVALID = "invalid_request_error"
ERRORS: dict[str, ErrorKind] = {
    "invalid_json": ErrorKind(400, INVALID),
    "invalid_request": ErrorKind(400, INVALID),
    "missing_model": ErrorKind(400, INVALID),
    "unsupported_field": ErrorKind(400, INVALID),
    "unpriced_model": ErrorKind(400, INVALID),
    "unpriced_feature": ErrorKind(400, INVALID),
    "stored_state": ErrorKind(400, INVALID),
    "unsupported_endpoint": ErrorKind(400, INVALID),
    "unsupported_encoding": ErrorKind(400, INVALID),
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
    "not_found": ErrorKind(404, INVALID),
    "previous_response_not_found": ErrorKind(404, INVALID),
    "model_not_found": ErrorKind(404, INVALID),
    "method_not_allowed": ErrorKind(405, INVALID),
    "upgrade_required": ErrorKind(426, INVALID),
    "body_too_large": ErrorKind(413, INVALID),
    "client_gone": ErrorKind(499, INVALID),
    "refused_by_upstream": ErrorKind(400, INVALID),
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
