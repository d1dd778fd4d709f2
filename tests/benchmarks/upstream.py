"""A mock upstream that is far faster than any relay: `python -m tests.benchmarks.upstream PORT`.

Any POST is a chat completion; with `"stream":true` it is 50 chunks, a usage chunk and the terminator. Usage is 19
prompt tokens and 80 (plain) or 50 (streamed) completion tokens, so the true cost of a run is known.
`GET /stats` counts.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop

WORDS = 50
STATS = {"plain": 0, "streams": 0}
_BASE = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "bench"}


def _answer(payload: object) -> bytes:
    body = json.dumps(payload).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def _usage(made: int) -> dict[str, int]:
    return {"prompt_tokens": 19, "completion_tokens": made, "total_tokens": 19 + made}


def _chunk(payload: object) -> bytes:
    data = b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def _delta(content: str | None, finish: str | None = None) -> bytes:
    delta = {} if content is None else {"content": content}
    return _chunk(
        {**_BASE, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    )


PLAIN = _answer(
    {
        **_BASE,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello! " * 40}, "finish_reason": "stop"}],
        "usage": _usage(80),
    }
)
STREAM = [
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    *[_delta(f" word{number}") for number in range(WORDS)],
    _delta(None, "stop") + _chunk({**_BASE, "choices": [], "usage": _usage(WORDS)}) + _chunk(b"[DONE]") + b"0\r\n\r\n",
]


class Upstream(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, for requests that carry a Content-Length."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + size:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + size], self.buffer[end + 4 + size :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get"):
            self.transport.write(_answer(STATS))
        elif b'"stream":true' in body:
            STATS["streams"] += 1
            for part in STREAM:
                self.transport.write(part)
        else:
            STATS["plain"] += 1
            self.transport.write(PLAIN)


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
