"""A client on a bare socket: it sees every byte as it arrives, and hangs up when a test says so."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import transaction

from billing.models import Wallet
from tests.cast.waiting import eventually


class Call:
    """One request, sent at once; its answer is read in the background. `raw` is what has arrived."""

    def __init__(
        self,
        relay: Any,
        secret: str,
        body: Any,
        *,
        headers: Mapping[str, str] | None = None,
        send_body: bool = True,
        reads: bool = True,
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = {
            "host": "relay",
            "authorization": f"Bearer {secret}",
            "content-type": "application/json",
            "content-length": str(len(content)),
            "connection": "close",
            **(headers or {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items() if value)
        self.raw = b""
        self.ended = threading.Event()
        self._socket = socket.create_connection(("127.0.0.1", relay.port), timeout=20)
        self._socket.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n".encode())
        if send_body:
            self._socket.sendall(content)
        self._thread = threading.Thread(target=self._read, daemon=True)
        if reads:
            self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while part := self._socket.recv(65_536):
                self.raw += part
        self.ended.set()

    def send(self, content: bytes) -> None:
        """Send more of the body."""
        self._socket.sendall(content)

    @property
    def status(self) -> int:
        """The answer's status."""
        eventually(lambda: b"\r\n\r\n" in self.raw, what="the head of an answer")
        return int(self.raw[9:12])

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        assert self.status
        head = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}

    @property
    def content(self) -> bytes:
        """As much of the body as has arrived, its chunks joined."""
        body = self.raw.partition(b"\r\n\r\n")[2]
        if self.headers.get("transfer-encoding") != "chunked":
            return body
        content = b""
        while b"\r\n" in body:
            size, _, rest = body.partition(b"\r\n")
            length = int(size, 16)
            content += rest[:length]
            body = rest[length + 2 :]
        return content

    def until(self, needle: bytes) -> None:
        """Wait until the answer contains something."""
        eventually(lambda: needle in self.raw, what=f"{needle!r} in {self.raw!r}")

    def whole(self) -> bytes:
        """The body, once the answer has ended."""
        assert self.ended.wait(20)
        return self.content

    def hang_up(self) -> None:
        """Go away without a word, as a client does that is killed."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.shutdown(socket.SHUT_RD)
        self._socket.close()


@contextlib.contextmanager
def locked_wallet(world: Any) -> Iterator[None]:
    """While this lasts nothing of the organization can be held or captured."""
    with transaction.atomic():
        Wallet.objects.select_for_update().get(pk=world.organization.pk)
        yield


@contextlib.contextmanager
def handed_over(relay: Any, what: str) -> Iterator[threading.Event]:
    """An event that is set when something ("hold", "capture") has been handed to the relay's writer."""
    handed = threading.Event()
    writer = relay.runtime.writer
    hand_over = getattr(writer, what)

    def watched(item: Any) -> Any:
        future = hand_over(item)
        handed.set()
        return future

    setattr(writer, what, watched)
    try:
        yield handed
    finally:
        delattr(writer, what)
