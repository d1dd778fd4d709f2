"""What the relay is measured against: the same server and the same upstream transport, without keys, money or rules."""

from __future__ import annotations

import os
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

URL = httpx.URL(os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:9001/v1") + "/chat/completions")
HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}
EXTENSIONS = {"timeout": {"connect": 10, "read": 300, "pool": 10}}


class Application:
    """A pass-through."""

    transport: AiohttpTransport

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            connector = aiohttp.TCPConnector(limit=0)
            session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
            self.transport = AiohttpTransport(client=session)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self.transport.aclose()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        request = httpx.Request("POST", URL, headers=HEADERS, content=body, extensions=EXTENSIONS)
        response = await self.transport.handle_async_request(request)
        headers = [(b"content-type", response.headers["content-type"].encode())]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        async for part in response.stream:  # type: ignore[union-attr]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        await response.stream.aclose()  # type: ignore[union-attr]


application = Application()
