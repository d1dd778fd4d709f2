"""What the relay is measured against: the same server and the same HTTP client, without keys, money or rules."""

from __future__ import annotations

import os
from typing import Any

import aiohttp

URL = os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:9001/v1") + "/chat/completions"
HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}


class Application:
    """A pass-through."""

    session: aiohttp.ClientSession

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self.session.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        response = await self.session.post(URL, data=body, headers=HEADERS)
        headers = [(b"content-type", response.headers["content-type"].encode())]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        while part := await response.content.readany():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


application = Application()
