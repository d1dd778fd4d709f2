"""Amazon's binary event stream (`application/vnd.amazon.eventstream`): frames of headers and a payload, with checksums.

Source: `botocore.eventstream` of botocore 1.44, which also reads each frame's headers.
"""

from __future__ import annotations

from binascii import crc32

from relay.protocols.sse import MAX_EVENT_BYTES

# Length of the frame, length of its headers, checksum of these two; a frame ends in a checksum of all of it.
_PRELUDE, _LEAST = 12, 16
# What a frame is called that reports an error, or that cannot be read.
FAILURE = b"failure"


class FrameCutter:
    """Cuts a byte stream into frames: see `relay.protocols.base.Cutter`.

    Each becomes its event's type, a newline, and its payload (JSON); of an exception, `FAILURE` in place of the type.
    Bytes that are no frame are a failure too, after which nothing is read.
    """

    __slots__ = ("_broken", "_buffer")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._broken = False

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now."""
        events: list[bytes] = []
        buffer, at = self._buffer, 0
        if not self._broken:
            buffer += data
        while not self._broken and len(buffer) - at >= _PRELUDE:
            length = _length(buffer[at : at + _PRELUDE])
            if length is not None and len(buffer) - at < length:
                break
            event = None if length is None else _event(bytes(buffer[at : at + length]))
            self._broken = event is None
            events.append(FAILURE + b"\n" if event is None else event)
            at += length or 0
        del buffer[: len(buffer) if self._broken else at]
        return events

    def rest(self) -> bytes:
        """Half a frame is none."""
        return b""


def _length(prelude: bytearray) -> int | None:
    """The length of the frame that begins so; None where none does."""
    length = int.from_bytes(prelude[:4])
    sound = crc32(prelude[:8]) == int.from_bytes(prelude[8:])
    return length if sound and _LEAST <= length <= MAX_EVENT_BYTES else None


def _event(frame: bytes) -> bytes | None:
    """A frame as an event; None where it cannot be read."""
    from botocore.eventstream import EventStreamBuffer  # only where there is such a channel

    buffer = EventStreamBuffer()
    buffer.add_data(frame)
    try:
        message = buffer.next()
        event: bool = message.headers[":message-type"] == "event"
        kind: bytes = message.headers[":event-type"].encode() if event else FAILURE
        payload: bytes = message.payload
        return kind + b"\n" + payload
    except Exception:  # whatever botocore makes of bytes that are no frame
        return None
