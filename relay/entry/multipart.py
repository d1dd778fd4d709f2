"""Forms with files (`multipart/form-data`, RFC 7578): read as they stream in, rebuilt for the upstream they go to.

`read_form` gives a `Form`, whose files wait on disk once they are large. `Form.description()` is the form as a JSON
object, which a dialect parses like any other body: a field is a string, a file an object (`filename`, `content_type`,
`size`, and what was noted about it), a repeated name a list. `Form.upload(body)` takes such an object back, changed by
the dialect for an upstream, and makes the form of it, to be streamed as often as it is asked for. What is rebuilt has
only the headers that were understood here, so that no upstream reads another form than the one that was charged.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    content_disposition_quote,
    parse_options_header,
)

from relay.errors import RelayError

# A file larger than this waits on disk.
SPOOL_BYTES = 1 << 20
MAX_PARTS = 256
MAX_FIELD_BYTES = 4 << 20
MAX_NAME = 200
MAX_HEADER_BYTES, MAX_HEADERS = 4_096, 8
_CHUNK = 64 * 1024
_json = msgspec.json


@dataclass(slots=True)
class Part:
    """A field (`text`), or a file (`data`)."""

    name: str
    text: str | None = None
    data: IO[bytes] | None = None
    filename: str = ""
    content_type: str = ""
    size: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def value(self) -> object:
        """What a dialect sees of it."""
        if self.data is None:
            return self.text
        return {"filename": self.filename, "content_type": self.content_type, "size": self.size, **self.facts}

    def head(self) -> bytes:
        """Its headers."""
        said = f"Content-Disposition: form-data; name={content_disposition_quote(self.name)}"
        if self.data is not None:
            said += f"; filename={content_disposition_quote(self.filename)}\r\nContent-Type: {self.content_type}"
        return said.encode() + b"\r\n\r\n"


class Form:
    """A form that was read. `close` it when nothing sends it any more; its files are gone then."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def close(self) -> None:
        """Delete the files."""
        for part in self.parts:
            if part.data is not None:
                part.data.close()

    def files(self, name: str) -> list[Part]:
        """The files of a name."""
        return [part for part in self.parts if part.name == name and part.data is not None]

    def values(self) -> dict[str, Any]:
        """The form as a mapping: see the module."""
        found: dict[str, Any] = {}
        for part in self.parts:
            value = part.value()
            if part.name not in found:
                found[part.name] = [value] if part.name.endswith("[]") else value
            elif isinstance(found[part.name], list):
                found[part.name].append(value)
            else:
                found[part.name] = [found[part.name], value]
        return found

    def description(self) -> bytes:
        """The same as JSON, for a dialect's `parse`."""
        return _json.encode(self.values())

    def upload(self, body: bytes) -> Upload:
        """The form for an upstream, from what a dialect's `body` made of the description."""
        was, wanted = self.values(), _json.decode(body)
        new = [
            Part(name, text=one if isinstance(one, str) else _json.encode(one).decode())
            for name, value in wanted.items()
            if name not in was or was[name] != value
            for one in (value if isinstance(value, list) else [value])
        ]
        kept = [part for part in self.parts if part.name in wanted and wanted[part.name] == was[part.name]]
        return Upload([*new, *kept])


class Upload:
    """A form on its way out: `length` bytes of `content_type`. See `relay.upstream.connections.Upload`."""

    def __init__(self, parts: Iterable[Part]) -> None:
        # Made after the form was read: nothing in it can look like its end.
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._pieces: list[bytes | IO[bytes]] = []
        self.length = 0
        opening = b"--" + boundary.encode() + b"\r\n"
        for part in parts:
            self._add(opening + part.head())
            if part.data is not None:
                self._pieces.append(part.data)
                self.length += part.size
            else:
                self._add((part.text or "").encode())
            self._add(b"\r\n")
        self._add(b"--" + boundary.encode() + b"--\r\n")

    def _add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.length += len(piece)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body from its beginning, as often as it is asked for."""
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            at = 0
            while True:
                piece.seek(at)
                chunk = piece.read(_CHUNK)
                if not chunk:
                    break
                at += len(chunk)
                yield chunk


def is_form(content_type: bytes) -> bool:
    """Whether a request's body is a form with files."""
    return content_type.partition(b";")[0].strip().lower() == b"multipart/form-data"


async def read_form(chunks: AsyncIterable[bytes], content_type: bytes, *, limit: int) -> Form:
    """A form from its body's bytes. Raises RelayError: not a form (400), or more than a form may have (413).

    Whatever `chunks` raises passes through. The files are deleted unless a Form is returned.
    """
    form = Form()
    try:
        reading = _Reading(form, _boundary(content_type))
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise RelayError("body_too_large", f"The body is larger than {limit} bytes.")
            if chunk:
                reading.feed(chunk)
        reading.end()
    except BaseException:
        form.close()
        raise
    return form


def _boundary(content_type: bytes) -> str:
    try:
        kind, options = parse_options_header(content_type.decode("ascii"))
    except UnicodeDecodeError:
        kind, options = "", {}
    boundary: str = options.get("boundary", "")
    if kind != "multipart/form-data" or not 1 <= len(boundary) <= 200 or not boundary.isprintable():
        raise RelayError("invalid_request", "The body must be multipart/form-data with a boundary.")
    return boundary


class _Reading:
    """Turns the parser's events into parts."""

    def __init__(self, form: Form, boundary: str) -> None:
        self._form = form
        self._part: Part | None = None
        self._text = bytearray()
        try:
            self._parser = PushMultipartParser(
                boundary,
                max_header_size=MAX_HEADER_BYTES,
                max_header_count=MAX_HEADERS,
                max_segment_count=MAX_PARTS,
            )
        except MultipartError as error:
            raise _malformed(error) from error

    def feed(self, chunk: bytes) -> None:
        """Read what came."""
        try:
            for event in self._parser.parse(chunk):
                if isinstance(event, MultipartSegment):
                    self._begin(event)
                elif event is None:
                    self._finish()
                else:
                    self._add(bytes(event))
        except MultipartError as error:
            raise _malformed(error) from error

    def end(self) -> None:
        """The body is over. Raises RelayError where the form is not."""
        try:
            self._parser.close()
        except MultipartError as error:
            raise _malformed(error) from error

    def _begin(self, segment: MultipartSegment) -> None:
        name = segment.name or ""
        if not 0 < len(name) <= MAX_NAME or not name.isprintable() or '"' in name or "\\" in name:
            raise RelayError("invalid_request", "The form has a field whose name cannot be relayed.")
        self._part = part = Part(name)
        self._text = bytearray()
        if segment.filename is not None:
            part.filename = _printable(segment.filename).replace("\\", "")
            part.content_type = _printable(segment.header("Content-Type") or "application/octet-stream")
            part.data = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115
        elif not name.endswith("[]") and any(other.name == name for other in self._form.parts):
            # An upstream might take the other one.
            raise RelayError("invalid_request", f"{name} is given twice.", param=name)
        self._form.parts.append(part)

    def _add(self, data: bytes) -> None:
        part = self._part
        assert part is not None
        part.size += len(data)
        if part.data is not None:
            part.data.write(data)
        elif part.size > MAX_FIELD_BYTES:
            raise RelayError("body_too_large", f"{part.name} is larger than {MAX_FIELD_BYTES} bytes.", param=part.name)
        else:
            self._text += data

    def _finish(self) -> None:
        part = self._part
        assert part is not None
        if part.data is None:
            try:
                part.text = self._text.decode()
            except UnicodeDecodeError as error:
                raise RelayError("invalid_request", f"{part.name} is not UTF-8.", param=part.name) from error


def _malformed(error: MultipartError) -> RelayError:
    if isinstance(error, ParserLimitReached):
        return RelayError("body_too_large", f"The form has more than a form may have: {error}.")
    return RelayError("invalid_request", f"The body is not a form: {error}.")


def _printable(text: str) -> str:
    """A header's value that stays one line."""
    return "".join(character for character in text if character.isprintable())
