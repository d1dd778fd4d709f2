"""How long a recording is, whatever its headers say: it is decoded, in a thread, by FFmpeg (through PyAV).

Timestamps and headers are the sender's claims; what a model will hear, and its maker will charge, is what decodes. An
hour takes a second or two. Only the containers and codecs that speech endpoints take are read at all.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import IO

import av
from av.audio.stream import AudioStream
from av.codec.context import Flags2

from relay.errors import RelayError

# The demuxers behind flac, mp3, mp4, mpeg, mpga, m4a, ogg, wav and webm. None opens anything but the file it is given.
FORMATS = "aac,flac,matroska,mov,mp3,mpeg,ogg,wav,w64"
CODECS = frozenset(
    {
        *("aac", "aac_latm", "alac", "amrnb", "amrwb", "flac", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float"),
        *("opus", "libopus", "vorbis", "libvorbis", "gsm", "gsm_ms", "adpcm_ms", "adpcm_ima_wav"),
    }
)
MAX_SECONDS = 12 * 3_600
MAX_WORK_SECONDS = 60.0
# Bytes that no stream accounts for: tags and indexes, not a recording that was hidden from us.
MAX_UNREAD_BYTES = 1 << 20
# What a container adds to each packet, at most.
PACKET_BYTES = 64
# Silence that an encoder adds before and after, which nobody said.
ENDS = Fraction(1, 5)
_OPTIONS = {"format_whitelist": FORMATS, "ignore_editlist": "1"}
_threads = ThreadPoolExecutor(2, thread_name_prefix="audio")


class _Source:
    """A file as FFmpeg may see it: no name, so that nothing is guessed from one, and nothing but reading."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


async def seconds_of(file: IO[bytes], size: int, field: str = "file") -> int:
    """The length of a recording in seconds, rounded up. Raises RelayError, naming the form's field."""
    return await asyncio.get_running_loop().run_in_executor(_threads, measure, file, size, field)


def measure(file: IO[bytes], size: int, field: str = "file") -> int:
    """The same, in this thread."""
    file.seek(0)
    try:
        with av.open(_Source(file), mode="r", options=_OPTIONS) as container:
            seconds, explained = _decode(container)
    except Exception as error:
        # FFmpeg and its bindings fail in many ways on what is no recording.
        raise _unreadable(field) from error
    if not seconds or size - explained > max(size // 2, MAX_UNREAD_BYTES):
        raise _unreadable(field)
    if seconds > MAX_SECONDS:
        raise RelayError("invalid_request", f"{field} is longer than {MAX_SECONDS:,} seconds.", param=field)
    return max(1, -int((ENDS - seconds) // 1))


def _unreadable(field: str) -> RelayError:
    return RelayError("invalid_request", f"{field} is not a recording in a format that is known here.", param=field)


def _decode(container: av.container.InputContainer) -> tuple[Fraction, int]:
    """The longest audio stream in seconds, and how many of the bytes belong to any stream."""
    lengths: dict[int, Fraction] = {}
    for audio in container.streams.audio:
        # Else a claim of what is to be skipped would shorten what is heard by those who skip nothing.
        audio.codec_context.flags2 |= Flags2.skip_manual
    explained, deadline = 0, time.monotonic() + MAX_WORK_SECONDS
    for packet in container.demux():
        explained += packet.size + PACKET_BYTES
        stream = packet.stream
        if not isinstance(stream, AudioStream):
            continue
        name = stream.codec_context.name
        if name not in CODECS and not name.startswith("pcm_"):
            raise ValueError("a codec that no speech endpoint takes")
        length = lengths.get(stream.index, Fraction(0))
        try:
            for frame in packet.decode():
                assert isinstance(frame, av.AudioFrame)
                length += Fraction(frame.samples, frame.sample_rate)
        except av.FFmpegError:
            # Broken in between: it stands for the time that it claims.
            if packet.duration and packet.duration > 0 and packet.time_base:
                length += packet.duration * packet.time_base
        lengths[stream.index] = length
        if time.monotonic() > deadline:
            raise ValueError("more work than a recording is worth")
        if length > MAX_SECONDS:
            break
    return max(lengths.values(), default=Fraction(0)), explained
