"""OpenAI's events of images, speech and transcripts: the few fields that matter here of any of them."""

from __future__ import annotations

from typing import Any

import msgspec


class MediaEvent(msgspec.Struct):
    """An event. `type` is "error" for one that reports an error, whatever it calls itself."""

    type: Any = None
    delta: Any = None
    usage: Any = None
    error: Any = None


_EVENT = msgspec.json.Decoder(MediaEvent)


def read_event(data: bytes) -> MediaEvent | None:
    """What an event says; None where it is not JSON and does not look like an error."""
    try:
        event = _EVENT.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return MediaEvent("error") if b'"error"' in data[:64] else None
    if event.error is not None:
        event.type = "error"
    return event
