"""A faithful upstream double: a real HTTP server on a free port whose every answer a test scripts, byte for byte."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from relay.protocols.sse import Splitter

CHUNK = {"id": "chatcmpl-double", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "double-1"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
# What USAGE costs of `double-1`: 10 input tokens at 1 USD a million, 5 output tokens at 2, in nanos.
COST = 10 * 1_000 + 5 * 2_000


def ask(**fields: Any) -> dict[str, Any]:
    """A request for a chat completion."""
    return {"model": "double-1", "messages": [{"role": "user", "content": "hello"}], **fields}


def completion(text: str = "Hello there!", *, usage: dict[str, Any] | None = USAGE, **extra: Any) -> dict[str, Any]:
    """A chat completion."""
    answer = {
        "id": "chatcmpl-double",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "double-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        **extra,
    }
    return answer if usage is None else {**answer, "usage": usage}


def event(payload: object) -> bytes:
    """One server-sent event."""
    return b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n"


def delta(text: str | None = None, *, finish: str | None = None, **extra: Any) -> bytes:
    """A chunk of a streamed answer."""
    content = {} if text is None else {"content": text}
    return event({**CHUNK, "choices": [{"index": 0, "delta": {**content, **extra}, "finish_reason": finish}]})


def usage_chunk(usage: dict[str, Any] | None = None) -> bytes:
    """The chunk that ends a stream whose client asked for usage."""
    return event({**CHUNK, "choices": [], "usage": usage or USAGE})


DONE = event(b"[DONE]")


def whole_stream(*words: str) -> list[bytes]:
    """A complete streamed answer with its usage."""
    return [delta("", role="assistant"), *(delta(word) for word in words), delta(finish="stop"), usage_chunk(), DONE]


@dataclass
class Reply:
    """An answer. `parts` are sent one by one; before part n the server waits for `gates[n]`, where there is one.

    They are chunks, unless `headers` have a content-length.

    `then`: "end" (a complete answer), "cut" (the connection is closed before the answer is complete), "hang".
    """

    parts: list[bytes]
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    then: str = "end"
    gates: dict[int, threading.Event] = field(default_factory=dict)


def json_reply(body: object, status: int = 200, **options: Any) -> Reply:
    """A JSON answer."""
    return Reply([json.dumps(body).encode()], status, **options)


def sse_reply(parts: list[bytes], **options: Any) -> Reply:
    """A streamed answer."""
    return Reply(parts, content_type="text/event-stream", **options)


RESET = Reply([], then="reset")
HANG = Reply([], then="hang")


@dataclass
class Seen:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Background:
    """A server on a free port, with an event loop of its own: `_run` opens it, and sets `port` and `_ready`."""

    def __init__(self) -> None:
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        raise NotImplementedError


class Upstream(Background):
    """Answers with what `script` holds, in order; with `default` when it is empty. `seen` are the requests."""

    def __init__(self) -> None:
        super().__init__()
        self.script: deque[Reply] = deque()
        self.default = json_reply(completion())
        self.seen: list[Seen] = []
        self.closed_early = threading.Event()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        seen = await self._request(reader)
        self.seen.append(seen)
        try:
            return await self._answer(self._choose(seen), reader, writer)
        except ConnectionError:
            self.closed_early.set()  # the relay hung up while we were writing
            raise

    async def _request(self, reader: asyncio.StreamReader) -> Seen:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:]) if k}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = head[0].split(" ")
        return Seen(path, headers, body, method)

    def _choose(self, seen: Seen) -> Reply:
        return self.script.popleft() if self.script else self.default

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if reply.then == "reset":
            return False
        if reply.then == "hang" and not reply.parts:
            await self._watch(reader)
            return False
        extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        chunked = "content-length" not in reply.headers
        extra += "transfer-encoding: chunked\r\n" if chunked else ""
        writer.write(f"HTTP/1.1 {reply.status} Status\r\ncontent-type: {reply.content_type}\r\n{extra}\r\n".encode())
        for number, part in enumerate(reply.parts):
            gate = reply.gates.get(number)
            if gate is not None and not await self._pass(gate, reader):
                return False
            writer.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
            await writer.drain()
        if reply.then == "hang":
            await self._watch(reader)
            return False
        if reply.then == "cut":
            return False
        if chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _pass(self, gate: threading.Event, reader: asyncio.StreamReader) -> bool:
        """Wait for a gate, or for the relay to hang up first."""
        while not gate.is_set():
            if reader.at_eof():
                self.closed_early.set()
                return False
            await asyncio.sleep(0.005)
        return True

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        await reader.read(1)
        self.closed_early.set()


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The events of a byte stream that arrives in pieces."""
    splitter, start = Splitter(), 0
    events: list[bytes] = []
    for end in [*sorted(cuts), len(data)]:
        events += splitter.feed(data[start:end])
        start = end
    rest = splitter.rest()
    return events + ([rest] if rest else [])
