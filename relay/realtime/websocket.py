"""`GET /v1/realtime`: a websocket relayed both ways. Each response is held for before it may begin, and charged alone.

The first hold is made before the upstream is called. `response.done` reaches the client once its charge is committed
and the next response is held for; where that hold is refused, the session ends with an error event.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from costrouter.lib import ids
from relay.endpoints import Endpoint
from relay.errors import RelayError
from relay.exchange import pipeline
from relay.exchange.context import Context
from relay.exchange.runtime import Runtime
from relay.protocols.error_shapes import error_body
from relay.realtime.session import Session
from relay.tasks import done_within

log = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."
_POLICY = 1008


async def upgrade_required(ctx: Context, runtime: Runtime, path: str) -> None:
    """A plain `GET /v1/realtime`."""
    raise RelayError(
        "upgrade_required", "This endpoint is a websocket.", headers={"upgrade": "websocket", "connection": "Upgrade"}
    )


async def serve(
    scope: Scope, receive: Receive, send: Send, runtime: Runtime, endpoint: Endpoint, client_ip: str
) -> None:
    """Serve one websocket: refuse it with an HTTP answer, or relay it until either side closes."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    offered: list[str] = scope.get("subprotocols", [])
    ctx = Context(
        ids.request_id(), endpoint, headers, client_ip, receive, send, scope["query_string"].decode("latin-1")
    )
    await receive()  # websocket.connect
    try:
        _take_key(headers, offered)
        await pipeline.authenticate(ctx, runtime)
        pipeline.require_writer(runtime)
        session = Session(ctx, runtime)
        await session.open()
    except RelayError as error:
        if not ctx.finished:
            runtime.refusals.add(ctx, error)
        await _deny(scope, ctx, send, error)
        return
    except Exception:
        log.exception("realtime session %s failed", ctx.request_id)
        await _deny(scope, ctx, send, RelayError("internal_error", "Something went wrong here; it was not charged."))
        return
    chosen = SUBPROTOCOL if SUBPROTOCOL in offered else None
    named = [(b"x-request-id", ctx.request_id.encode())]
    try:
        await send({"type": "websocket.accept", "subprotocol": chosen, "headers": named})
    except OSError:  # the client went away while the upstream was called
        session.abandon()
        return
    except BaseException:
        session.abandon()
        raise
    await done_within(session.start())


def _take_key(headers: dict[bytes, bytes], offered: list[str]) -> None:
    """A browser cannot send headers: its key is a subprotocol."""
    key = next((name for name in offered if name.startswith(KEY_SUBPROTOCOL)), None)
    if key is not None and b"authorization" not in headers:
        headers[b"authorization"] = b"Bearer " + key.removeprefix(KEY_SUBPROTOCOL).encode()


async def _deny(scope: Scope, ctx: Context, send: Send, error: RelayError) -> None:
    """Refuse a websocket, with the error as an HTTP answer where the server can send one."""
    ctx.admission.release(0)
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": _POLICY})
        return
    body = error_body(error, "realtime")
    headers = [(b"content-type", b"application/json"), (b"x-request-id", ctx.request_id.encode())]
    headers += [(name.encode(), value.encode()) for name, value in error.headers.items()]
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
