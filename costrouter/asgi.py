"""One port, two faces: the relay for `/v1` and `/v1beta`, Django for everything else."""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costrouter.settings")

# WhiteNoise reads a static file in its own thread, as a whole; that is what this warns of, once for each place.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

from django.core.asgi import get_asgi_application  # noqa: E402

django_application = get_asgi_application()

from django.conf import settings  # noqa: E402
from django.core.checks import run_checks  # noqa: E402

from relay.asgi import handle, handle_websocket, is_ours  # noqa: E402
from relay.exchange.runtime import Runtime  # noqa: E402
from relay.tasks import spawn  # noqa: E402

log = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
# Forms of the admin are small; API requests go to the relay, whose limit is MAX_BODY_BYTES.
MAX_PAGE_BYTES = 8 * 1024 * 1024


class Application:
    """The ASGI application. `runtime` lives from the lifespan's startup to its shutdown."""

    def __init__(self) -> None:
        self.runtime: Runtime | None = None
        self._draining: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            path = scope["path"]
            if self.runtime is not None and is_ours(path):
                await handle(scope, receive, send, self.runtime)
            elif scope["method"] == "HEAD" and path == "/":
                await _empty(send, 200)  # coding agents probe it before they start
            elif _declared_length(scope) > MAX_PAGE_BYTES:
                await _empty(send, 413)
            else:
                await django_application(scope, _bounded(receive), send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        elif self.runtime is not None and is_ours(scope["path"]):
            await handle_websocket(scope, receive, send, self.runtime)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._start()
                except Exception as error:
                    log.exception("the relay could not start")
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                if self.runtime is not None:
                    await self.runtime.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        problems = [problem for problem in await asyncio.to_thread(run_checks) if problem.is_serious()]
        if problems:
            raise RuntimeError("; ".join(f"{problem.msg} {problem.hint or ''}" for problem in problems))
        self.runtime = await Runtime.start()

    def drain(self) -> None:
        """Begin to shut down: `/readyz` fails at once, open requests may go on for DRAIN_SECONDS. Idempotent."""
        if self.runtime is not None and self._draining is None:
            self._draining = spawn(self.runtime.drain(settings.DRAIN_SECONDS), name="drain")


def _declared_length(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


def _bounded(receive: Receive) -> Receive:
    """Django writes a whole body to disk before any view may refuse it: one that goes on too long ends here."""
    received = 0

    async def bounded() -> Any:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return {"type": "http.disconnect"} if received > MAX_PAGE_BYTES else message

    return bounded


async def _empty(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


application = Application()
