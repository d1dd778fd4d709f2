"""An upstream that speaks OpenAI's Realtime API: a websocket server on a free port, scripted by a function."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSMsgType, web

from tests.doubles.upstream import Background

USAGE = {
    "total_tokens": 150,
    "input_tokens": 100,
    "output_tokens": 50,
    "input_token_details": {
        "text_tokens": 60,
        "audio_tokens": 40,
        "cached_tokens": 30,
        "cached_tokens_details": {"text_tokens": 20, "audio_tokens": 10},
    },
    "output_token_details": {"text_tokens": 10, "audio_tokens": 40},
}
Answer = Callable[["Realtime", dict[str, Any]], Awaitable[None]]


def done(number: int = 1, **fields: Any) -> dict[str, Any]:
    """`response.done`."""
    response = {"id": f"resp_{number}", "object": "realtime.response", "status": "completed", "output": []}
    return {"type": "response.done", "event_id": f"done_{number}", "response": {**response, "usage": USAGE, **fields}}


async def one_response(upstream: Realtime, event: dict[str, Any]) -> None:
    """What most sessions do: every `response.create` is answered with a text and its usage."""
    if event["type"] != "response.create":
        return
    upstream.number += 1
    await upstream.say(type="response.created", response={"id": f"resp_{upstream.number}", "status": "in_progress"})
    await upstream.say(type="response.output_text.delta", response_id="resp_1", delta="Hello")
    await upstream.say(**done(upstream.number))


class Realtime(Background):
    """`seen`: the events of clients (`raw`: their text); `requests`: (path with query, headers) of each websocket.

    `gate`: waited for before a websocket is opened, where there is one.
    """

    def __init__(self, answer: Answer = one_response) -> None:
        super().__init__()
        self.answer = answer
        self.number = 0
        self.status: int | None = None
        self.seen: list[dict[str, Any]] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.closed = threading.Event()
        self.gate: threading.Event | None = None
        self.raw: list[str] = []
        self.socket: web.WebSocketResponse | None = None

    async def say(self, **event: Any) -> None:
        """Send an event."""
        assert self.socket is not None
        await self.socket.send_str(json.dumps(event))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        application = web.Application()
        application.router.add_get("/v1/realtime", self._serve)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = site._server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path_qs, {name.lower(): value for name, value in request.headers.items()}))
        if self.status is not None:
            return web.json_response({"error": {"message": "no", "type": "server_error"}}, status=self.status)
        if self.gate is not None:
            await asyncio.to_thread(self.gate.wait, 10)
        self.socket = web.WebSocketResponse()
        await self.socket.prepare(request)
        await self.say(type="session.created", event_id="event_1", session={"id": "sess_1", "type": "realtime"})
        async for message in self.socket:
            if message.type is WSMsgType.TEXT:
                event = json.loads(message.data)
                self.raw.append(message.data)
                self.seen.append(event)
                await self.answer(self, event)
        self.closed.set()
        return self.socket
