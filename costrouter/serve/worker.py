"""The web worker: uvicorn under gunicorn. It tells the application that it is about to stop before it does."""

from __future__ import annotations

import asyncio
import signal
import sys
from types import FrameType
from typing import Any

from gunicorn.arbiter import Arbiter
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from costrouter.env import load

# Request line and headers together. httptools itself knows no limit, and joins fragments in quadratic time.
MAX_HEAD_BYTES = 64 * 1024


class LimitedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which hangs up on a head that does not end."""

    _head_bytes: int | None = 0

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if self._head_bytes is not None:
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.close()
                return
            self._head_bytes += len(data)
        super().data_received(data)


class DrainingServer(Server):
    """On the first SIGTERM the application drains; uvicorn waits for open requests meanwhile."""

    def __init__(self, config: Config, drain: Any) -> None:
        super().__init__(config)
        self._drain = drain
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: Any = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drain)
        super().handle_exit(sig, frame)


class RelayWorker(UvicornWorker):
    """gunicorn's worker class for `costrouter.asgi`."""

    CONFIG_KWARGS = {
        "loop": "uvloop",
        "http": LimitedHttpProtocol,
        "lifespan": "on",
        # Whose X-Forwarded-For counts is ours to decide (TRUSTED_PROXIES): uvicorn would believe loopback.
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "timeout_keep_alive": 75,
        # Streams are cut at DRAIN_SECONDS by the application itself; this only bounds what comes after.
        "timeout_graceful_shutdown": load().values["DRAIN_SECONDS"] + 10,
    }

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = DrainingServer(self.config, self.wsgi.drain)
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, self.handle_exit, signal.SIGQUIT, None)
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
