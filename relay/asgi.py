"""The relay's ASGI entry: match the endpoint, run the pipeline, answer every failure in the client's own dialect."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from django.conf import settings

from costrouter.lib import ids, netguard
from relay.endpoints import ENDPOINTS, Endpoint, allowed_methods, match
from relay.errors import RelayError
from relay.exchange import pipeline
from relay.exchange.context import Context
from relay.exchange.pipeline import ClientGone
from relay.exchange.reply import Reply, error_reply, preflight_headers, send_reply
from relay.exchange.runtime import Runtime
from relay.reading import models_list
from relay.realtime import websocket as realtime

log = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

PREFIXES = ("/v1/", "/v1beta/")
# The dialect in which a client of a shape is answered where its path says nothing.
_DIALECTS = {"openai": "chat", "anthropic": "anthropic", "gemini": "gemini"}
_UNKNOWN = {dialect: Endpoint("unknown", "", "", "", dialect, None, "") for dialect in _DIALECTS.values()}
Handler = Callable[[Context, Runtime, str], Awaitable[None]]


def _handler(name: str) -> Handler:
    """The function that an endpoint's `handler` names."""
    module, _, function = name.rpartition(".")
    found: Handler = getattr(import_module(f"relay.{module}"), function)
    return found


_HANDLERS = {endpoint.handler: _handler(endpoint.handler) for endpoint in ENDPOINTS}


def is_ours(path: str) -> bool:
    """Whether a path belongs to the relay rather than to Django."""
    return path.startswith(PREFIXES) or path in ("/v1", "/v1beta", "/healthz", "/readyz")


async def handle(scope: Scope, receive: Receive, send: Send, runtime: Runtime) -> None:
    """Serve one request."""
    method, path = scope["method"], scope["path"]
    if path == "/healthz":
        return await _health(send, True)
    if path == "/readyz":
        return await _health(send, runtime.ready)
    headers: dict[bytes, bytes] = dict(scope["headers"])
    found = match(method, path)
    ctx = Context(
        request_id=ids.request_id(),
        endpoint=_endpoint(found[0] if found else None, path, headers),
        headers=headers,
        client_ip=_client_ip(scope, headers),
        receive=receive,
        send=send,
    )
    try:
        if found is None:
            await _no_endpoint(ctx, method, path)
            return
        ctx.query = scope["query_string"].decode("latin-1")
        await pipeline.authenticate(ctx, runtime)
        await _HANDLERS[ctx.endpoint.handler](ctx, runtime, found[1])
    except RelayError as error:
        await _refuse(ctx, runtime, error)
    except ClientGone:
        if not ctx.finished:
            runtime.refusals.add(
                ctx, RelayError("client_gone", "The client went away before its request was complete.")
            )
    except Exception:
        log.exception("request %s failed", ctx.request_id)
        await _refuse(ctx, runtime, RelayError("internal_error", "Something went wrong here; it was not charged."))


async def handle_websocket(scope: Scope, receive: Receive, send: Send, runtime: Runtime) -> None:
    """Serve one websocket."""
    found = match("GET", scope["path"])
    if found is None or found[0].name != "realtime" or runtime.draining:
        await send({"type": "websocket.close", "code": 1008})
        return
    await realtime.serve(scope, receive, send, runtime, found[0], _client_ip(scope, dict(scope["headers"])))


async def _refuse(ctx: Context, runtime: Runtime, error: RelayError) -> None:
    """Answer with an error; an authenticated request that held nothing is recorded as refused."""
    if not ctx.finished:
        runtime.refusals.add(ctx, error)
    if not ctx.response_started:
        await send_reply(ctx, error_reply(error, ctx.endpoint.protocol))


def _endpoint(found: Endpoint | None, path: str, headers: dict[bytes, bytes]) -> Endpoint:
    """The endpoint, in the caller's dialect where its row names none: by the path, then by the headers."""
    if found is not None and found.protocol != "models":
        return found
    spoken = _DIALECTS["gemini" if path.startswith("/v1beta") else models_list.shape_by_headers(headers)]
    return _UNKNOWN[spoken] if found is None else replace(found, protocol=spoken)


async def _no_endpoint(ctx: Context, method: str, path: str) -> None:
    if method == "OPTIONS":
        await send_reply(ctx, Reply(204, preflight_headers(ctx.headers), b""))
        return
    methods = allowed_methods(path)
    if methods:
        raise RelayError(
            "method_not_allowed", f"{method} is not allowed here.", headers={"allow": ", ".join(sorted(methods))}
        )
    raise RelayError("not_found", f"Unknown path: {method} {path}.")


async def _health(send: Send, well: bool) -> None:
    body = b'{"status":"ok"}' if well else b'{"status":"unavailable"}'
    await send(
        {
            "type": "http.response.start",
            "status": 200 if well else 503,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"cache-control", b"no-store"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


def _client_ip(scope: Scope, headers: dict[bytes, bytes]) -> str:
    peer = scope["client"][0] if scope.get("client") else ""
    if not settings.TRUSTED_PROXIES:
        return peer
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return netguard.client_address(peer, forwarded.decode("latin-1"), settings.TRUSTED_PROXIES)
