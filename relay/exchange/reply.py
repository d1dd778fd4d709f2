"""Sending answers to the client, with the headers that every one of them carries."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from relay.errors import RelayError
from relay.exchange.context import Context
from relay.protocols.error_shapes import error_body, family

Header = tuple[bytes, bytes]
_EXPOSED = b", ".join(
    (
        *(b"x-request-id", b"request-id", b"x-costrouter-cost", b"x-costrouter-max-output", b"retry-after"),
        *(b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests"),
        *(b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens"),
    )
)


@dataclass(slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: list[Header]
    body: bytes


def cors_headers(headers: dict[bytes, bytes]) -> list[Header]:
    """What lets a page of an allowed origin read an answer. Keys travel in a header, never in a cookie."""
    origin = headers.get(b"origin")
    if origin is None:
        return []
    if "*" in settings.CORS_ORIGINS:
        allowed = b"*"
    elif origin.decode("latin-1") in settings.CORS_ORIGINS:
        allowed = origin
    else:
        return []
    return [
        (b"access-control-allow-origin", allowed),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"origin"),
    ]


def preflight_headers(headers: dict[bytes, bytes]) -> list[Header]:
    """What a CORS preflight is told beyond `cors_headers`, which every answer carries."""
    asked = headers.get(b"access-control-request-headers", b"authorization, content-type")
    return [
        (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
        (b"access-control-allow-headers", asked),
        (b"access-control-max-age", b"86400"),
    ]


async def begin(ctx: Context, status: int, headers: list[Header]) -> None:
    """Send the head of an answer."""
    ctx.response_started = True
    own: list[Header] = [(b"x-request-id", ctx.request_id.encode()), (b"x-content-type-options", b"nosniff")]
    if family(ctx.endpoint.protocol) == "anthropic":
        own.append((b"request-id", ctx.request_id.encode()))
    own += ctx.admission.headers(family(ctx.endpoint.protocol))
    if ctx.cap is not None:
        own.append((b"x-costrouter-max-output", b"%d" % ctx.cap))
    await ctx.send(
        {"type": "http.response.start", "status": status, "headers": [*headers, *own, *cors_headers(ctx.headers)]}
    )


async def send_reply(ctx: Context, reply: Reply) -> None:
    """Send a whole answer."""
    await begin(ctx, reply.status, [*reply.headers, (b"content-length", b"%d" % len(reply.body))])
    await ctx.send({"type": "http.response.body", "body": reply.body})


def error_reply(error: RelayError, dialect: str) -> Reply:
    """An error in the client's dialect."""
    headers = [(b"content-type", b"application/json")]
    headers += [(name.encode(), value.encode()) for name, value in error.headers.items()]
    return Reply(error.status, headers, error_body(error, dialect))
