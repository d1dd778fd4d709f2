"""Endpoints whose body is a form with files: edits and variations of images, transcriptions and translations.

The form is read as it streams in, measured where it has a recording, and streamed to each channel that is asked.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from django.conf import settings

from relay.entry.audio_length import seconds_of
from relay.entry.multipart import Form, Upload, is_form, read_form
from relay.errors import RelayError
from relay.exchange import pipeline
from relay.exchange.context import Context
from relay.exchange.convert import Passing
from relay.exchange.pipeline import ClientGone
from relay.exchange.plain import PlainExchange
from relay.exchange.runtime import Runtime
from relay.exchange.stream import StreamExchange
from relay.protocols import DIALECTS
from relay.protocols.base import Request, Target

# Dialects whose `file` is charged by its length.
_RECORDINGS = frozenset({"transcriptions", "translations"})
# Dialects that are also spoken in JSON.
_JSON_TOO = frozenset({"image_edits"})
_PIECE = 256 * 1024


@dataclass(slots=True)
class Uploading(Passing):
    """How a channel is sent a form: a way of `relay.exchange.convert`."""

    form: Form

    def body(self, target: Target) -> Upload:
        """The form for an upstream, with what must change changed."""
        return self.form.upload(self.dialect.body(self.request, target))


async def forward(ctx: Context, runtime: Runtime, path: str) -> None:
    """Every endpoint whose body is a form."""
    content_type, name = ctx.headers.get(b"content-type", b""), ctx.endpoint.protocol
    if name in _JSON_TOO and not is_form(content_type):
        await pipeline.forward(ctx, runtime, path)
        return
    pipeline.require_writer(runtime)
    limit, declared = settings.MAX_BODY_BYTES, ctx.headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > limit:
        raise RelayError("body_too_large", f"The body is larger than {limit} bytes.")
    form = await read_form(_pieces(ctx), content_type, limit=limit)
    try:
        await _serve(ctx, runtime, form, path)
    finally:
        _close_after(ctx, runtime, form)


async def _serve(ctx: Context, runtime: Runtime, form: Form, path: str) -> None:
    recordings = form.files("file") if ctx.endpoint.protocol in _RECORDINGS else []
    for part in recordings:
        part.facts["seconds"] = 1  # a recording is measured only for whom may send it: that is work
    request = _read(ctx, form, path)
    await pipeline.admit(ctx, runtime)
    try:
        pipeline.price(ctx, runtime)
        await pipeline.find_ways(ctx)
        for part in recordings:
            assert part.data is not None
            part.facts["seconds"] = await seconds_of(part.data, part.size)
        if recordings:
            request = _read(ctx, form, path)
        ctx.ways = dict.fromkeys(ctx.ways, Uploading(DIALECTS[request.dialect], request, form))
        await pipeline.hold(ctx, runtime)
    except BaseException:
        ctx.admission.release(0)
        raise
    await pipeline.exchange(ctx, runtime)


def _read(ctx: Context, form: Form, path: str) -> Request:
    ctx.request = request = DIALECTS[ctx.endpoint.protocol].parse(form.description(), path)
    ctx.model, ctx.streamed = request.model, request.stream
    return request


def _close_after(ctx: Context, runtime: Runtime, form: Form) -> None:
    """Delete the files once nothing sends them any more: an exchange may outlive its client."""
    for exchange in runtime.exchanges:
        if isinstance(exchange, PlainExchange | StreamExchange) and exchange.ctx is ctx:
            exchange.task.add_done_callback(lambda _: form.close())
            return
    form.close()


async def _pieces(ctx: Context) -> AsyncIterator[bytes]:
    """The request's body as it comes in, decompressed. Raises ClientGone, or RelayError where it is not gzip."""
    encoding = ctx.headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b"", b"gzip", b"x-gzip"):
        raise RelayError("unsupported_encoding", "Content-Encoding must be gzip or identity.")
    inflater = zlib.decompressobj(wbits=31) if encoding.endswith(b"gzip") else None
    more = True
    while more:
        message = await ctx.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece, more = message.get("body", b""), message.get("more_body", False)
        if inflater is None:
            yield piece
            continue
        try:
            while piece:
                yield inflater.decompress(piece, _PIECE)
                piece = inflater.unconsumed_tail
        except zlib.error as error:
            raise RelayError("invalid_request", "The body is not valid gzip.") from error
    if inflater is not None and (not inflater.eof or inflater.unused_data):
        raise RelayError("invalid_request", "The body is not valid gzip.")
