"""Events of many megabytes, as images are: cut without looking at each byte more than once or twice."""

from __future__ import annotations

import msgspec

from relay.protocols.sse import EventTooLarge, Splitter, data_of

MAX_BYTES = 128 * 1024 * 1024


class LargeSplitter:
    """A `Splitter` that is fed whole events only."""

    __slots__ = ("_parts", "_size", "_splitter", "_tail")

    def __init__(self) -> None:
        self._splitter = Splitter()
        self._parts: list[bytes] = []
        self._size = 0
        self._tail = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete now. Raises EventTooLarge."""
        seam = self._tail + data
        self._tail = seam[-3:]
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_BYTES:
            raise EventTooLarge
        if b"\n\n" in seam or b"\r\n\r\n" in seam:
            return self._splitter.feed(self._take())
        return []

    def rest(self) -> bytes:
        """What is left when the stream has ended."""
        events = self._splitter.feed(self._take())
        return b"".join(events) + self._splitter.rest()

    def _take(self) -> bytes:
        whole, self._parts, self._size = b"".join(self._parts), [], 0
        return whole


def is_whole(event: bytes) -> bool:
    """Whether a stream's last bytes are an event, though no blank line ended them."""
    data = data_of(event)
    if not data:
        return False
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data == b"[DONE]"
    return True
