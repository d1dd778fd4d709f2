"""Server-sent events (WHATWG HTML, "Interpreting an event stream"), as far as a relay needs them."""

from __future__ import annotations

# An event larger than this is not a model's delta.
MAX_EVENT_BYTES = 16 * 1024 * 1024


class EventTooLarge(Exception):
    """An upstream sent more than MAX_EVENT_BYTES without ending an event."""


class Splitter:
    """Cuts a byte stream into events, each with the blank line that ends it, so that they can be passed on as sent."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete now."""
        buffer = self._buffer + data if self._buffer else data
        if b"\r" in buffer:
            return self._feed_mixed(buffer)
        parts = buffer.split(b"\n\n")
        self._keep(parts.pop())
        return [part + b"\n\n" for part in parts if part]

    def _feed_mixed(self, buffer: bytes) -> list[bytes]:
        """Events whose lines end in CRLF or CR: the blank line may be written in several ways."""
        # A CR at the very end may be half of a CRLF: wait for the rest.
        held = b""
        if buffer.endswith(b"\r"):
            buffer, held = buffer[:-1], b"\r"
        parts = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")
        self._keep(parts.pop() + held)
        return [part + b"\n\n" for part in parts if part]

    def _keep(self, rest: bytes) -> None:
        if len(rest) > MAX_EVENT_BYTES:
            raise EventTooLarge
        self._buffer = rest

    def rest(self) -> bytes:
        """What is left when the stream has ended: an event whose blank line never came, or nothing."""
        rest, self._buffer = self._buffer.strip(b"\r\n"), b""
        return rest + b"\n\n" if rest else b""


def data_of(event: bytes) -> bytes | None:
    """The data of an event, its lines joined by newlines; None for a comment or an event without data."""
    if event.startswith(b"data:") and event.find(b"\n") == len(event) - 2:
        return event[5:-2].strip()  # one line, as nearly every event is
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines).strip() if lines else None
