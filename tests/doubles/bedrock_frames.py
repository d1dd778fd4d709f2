"""Frames of Amazon's binary event stream, as Bedrock writes them, and what botocore itself makes of them."""

from __future__ import annotations

import json
import struct
from binascii import crc32
from collections.abc import Iterable
from typing import Any

from botocore.eventstream import EventStream
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import EventStreamJSONParser

SERVICE = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")
TYPE = "application/vnd.amazon.eventstream"


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """A frame whose headers are all strings."""
    written = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    return framed(written, payload)


def framed(headers: bytes, payload: bytes) -> bytes:
    """A frame with headers as they are, its checksums right."""
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    return message + struct.pack("!I", crc32(message))


def event(kind: str, **payload: Any) -> bytes:
    """An event of a stream."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(payload).encode())


def exception(kind: str, message: str) -> bytes:
    """An error in the middle of a stream."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": message}).encode())


def delta(index: int, **said: Any) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=index, delta=said)


def call(index: int, name: str, call_id: str) -> bytes:
    """A tool call begins."""
    return event("contentBlockStart", contentBlockIndex=index, start={"toolUse": {"toolUseId": call_id, "name": name}})


def end(index: int) -> bytes:
    return event("contentBlockStop", contentBlockIndex=index)


def stop(reason: str = "end_turn", **more: Any) -> bytes:
    return event("messageStop", stopReason=reason, **more)


def metadata(**usage: Any) -> bytes:
    return event("metadata", usage=usage, metrics={"latencyMs": 12})


START = event("messageStart", role="assistant")


class _Raw:
    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    def stream(self) -> Iterable[bytes]:
        return self._parts


def as_botocore_reads(*parts: bytes) -> list[dict[str, Any]]:
    """The events of a stream, read by botocore."""
    shape = SERVICE.operation_model("ConverseStream").output_shape.members["stream"]
    return list(EventStream(_Raw(parts), shape, EventStreamJSONParser(), "ConverseStream"))
