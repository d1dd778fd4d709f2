"""Recordings for tests: tones of a known length, in every format that speech endpoints take."""

from __future__ import annotations

import functools
import io
import struct

import av

RATE = 48_000
# Name → (container, codec, sample format).
KINDS = {
    "flac": ("flac", "flac", "s16"),
    "mp3": ("mp3", "libmp3lame", "s16p"),
    "m4a": ("mp4", "aac", "fltp"),
    "ogg": ("ogg", "libopus", "s16"),
    "wav": ("wav", "pcm_s16le", "s16"),
    "webm": ("webm", "libopus", "s16"),
    "mpga": ("mp2", "mp2", "s16"),
}


@functools.cache
def recording(kind: str, seconds: int) -> bytes:
    """A recording of `seconds` of a quiet square wave."""
    return two_streams(kind, seconds)


def two_streams(kind: str, *lengths: int) -> bytes:
    """A file with a stream of each length, in seconds."""
    container, codec, sample_format = KINDS[kind]
    loud, low = (b"\x00\x04", b"\x00\xfc") if sample_format[0] == "s" else (b"\x00\x00\x00\x3d", b"\x00\x00\x00\xbd")
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        streams = [output.add_stream(codec, rate=RATE, layout="mono") for _ in lengths]
        for stream, seconds in zip(streams, lengths, strict=True):
            for second in range(seconds):
                frame = av.AudioFrame(format=sample_format, layout="mono", samples=RATE)
                frame.sample_rate, frame.pts = RATE, second * RATE
                frame.planes[0].update((loud * 60 + low * 60) * (RATE // 120))
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return file.getvalue()


def with_lying_timestamps(m4a: bytes) -> bytes:
    """The same MP4, each of whose samples claims to last one tick."""
    at = m4a.index(b"stts") + 4
    entries = struct.unpack(">I", m4a[at + 4 : at + 8])[0]
    table = bytearray(m4a)
    for entry in range(entries):
        table[at + 12 + 8 * entry : at + 16 + 8 * entry] = struct.pack(">I", 1)
    return bytes(table)
