"""A streamed answer: every event goes on at once, save the last, which waits for the charge to be committed."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import cast

import aiohttp

from channels_app.snapshot import ChannelInfo
from costrouter.lib.money import usd_number
from relay.errors import RelayError
from relay.exchange import attempts, capture
from relay.exchange.attempts import ClientFault, try_channels
from relay.exchange.capture import COMMIT_SECONDS
from relay.exchange.context import Context
from relay.exchange.convert import ConvertingReader
from relay.exchange.reply import Header, Reply, begin
from relay.exchange.runtime import Runtime
from relay.protocols import DIALECTS
from relay.protocols.base import Cutter, Keeping, Reader, Telling
from relay.protocols.error_shapes import stream_error
from relay.protocols.sse import Splitter
from relay.routing import health
from relay.tasks import done_within, spawn
from relay.upstream.connections import UpstreamFailure, close, end, returned_headers

log = logging.getLogger(__name__)
# After a finish reason, how long a stream is read for its usage when nobody listens any more.
USAGE_SECONDS = 5.0
# When we are shutting down, how long a client may take to accept that its stream was cut.
LAST_WORDS_SECONDS = 1.0
STREAM_HEADERS: list[Header] = [
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class _Nothing:
    """A reader before any channel was asked."""

    started = finished = done = failed = False
    units: dict[str, int] | None = None
    texts: list[str] = []

    def read(self, event: bytes) -> bytes:
        return b""

    read_rest = read

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        return b"", b""


class StreamExchange:
    """One streamed answer, in a task of its own: it ends in exactly one capture, whoever goes away first."""

    def __init__(self, ctx: Context, runtime: Runtime) -> None:
        self.ctx = ctx
        self.runtime = runtime
        self.gone = False
        self._cut = False
        self._reading = True
        self._accepted = False
        self._splitter: Cutter = Splitter()
        self._response: aiohttp.ClientResponse | None = None
        self._next: Callable[[], Awaitable[bytes]] | None = None
        self._reader: Reader = _Nothing()
        self._by_body = False
        self._kind = b""
        # Since when we wait for the upstream, or for a client that does not read.
        self._waiting, self._sending, self._silent = math.inf, math.inf, False
        self._timer: asyncio.TimerHandle | None = None
        self.task = spawn(self._run(), name=f"stream {ctx.request_id}")
        runtime.exchanges.add(self)
        self.task.add_done_callback(self._over)

    def cut(self) -> None:
        """End it now: it is captured for what it delivered."""
        self._cut = True
        self._interrupt()

    def client_gone(self) -> None:
        """Nobody listens any more. What is still worth reading is the usage, where it can be had."""
        if self.gone or self.task.done():
            return
        self.gone = True
        route = self.ctx.route
        assert route is not None
        if self._reader.finished or self._reader.done:
            asyncio.get_running_loop().call_later(USAGE_SECONDS, self._interrupt)
        elif not route.model.hidden_reasoning:
            self._interrupt()

    def _interrupt(self) -> None:
        """Stop reading, once: what comes after is the capture, which nothing may disturb."""
        if self._reading:
            self._reading = False
            self.task.cancel()

    def _mind_silence(self) -> None:
        """A timer: an upstream that is silent for its idle timeout is cut, a client that does not read is gone."""
        assert self.ctx.channel is not None
        loop = asyncio.get_running_loop()
        idle, now = self.ctx.channel.idle_timeout, loop.time()
        if now - self._sending >= idle:
            self.gone = True
            self._interrupt()
        elif now - self._waiting >= idle:
            self._silent = True
            self._interrupt()
        else:
            since = min(self._sending, self._waiting, now)
            self._timer = loop.call_later(since + idle - now, self._mind_silence)

    def _over(self, _: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.runtime.exchanges.discard(self)
        capture.ensure(self.ctx, self.runtime.writer)

    def _cost_of(self, units: dict[str, int]) -> str:
        return usd_number(capture.cost_of(self.ctx, capture.with_pieces(self.ctx, units)))

    async def _run(self) -> Reply | None:
        """None once it was sent; a Reply for an upstream's refusal. Raises RelayError before the first event."""
        ctx, writer = self.ctx, self.runtime.writer
        failure: UpstreamFailure | None = None
        interrupted = False
        try:
            first, headers = await try_channels(ctx, self._open, whole=False)
            ctx.first_byte = time.monotonic()
            await self._send_head(headers)
            await self._send(first)
            await self._pump()
        except ClientFault as fault:
            capture.finish(
                ctx, writer, status=capture.REFUSED, http_status=fault.status, error_code="refused_by_upstream"
            )
            return Reply(fault.status, fault.headers, fault.body)
        except RelayError as error:
            capture.finish(ctx, writer, status=capture.UPSTREAM_ERROR, http_status=error.status, error_code=error.code)
            raise
        except UpstreamFailure as error:
            failure = error
        except asyncio.CancelledError:
            interrupted = True
        finally:
            self._reading = False
            # The upstream stops working for nobody; its connection is kept only where its answer was read whole.
            if self._response is not None:
                if self._reader.done or self._response.content.at_eof():
                    spawn(end(self._response), name=f"end {ctx.request_id}")
                else:
                    close(self._response, whole=False)
        await self._conclude(failure, interrupted=interrupted)
        return None

    async def _open(self, channel: ChannelInfo) -> tuple[bytes, list[Header]]:
        """Ask a channel, and read up to its first data event: until then, another channel may answer instead."""
        way = self.ctx.ways[channel.id]
        self._reader = way.reader(self._cost_of)
        self._splitter = way.streaming.cutter()
        self._by_body = way.streaming.by_body
        self._response = None
        self._accepted = False
        opened = False
        try:
            async with asyncio.timeout(channel.first_byte_timeout):
                response = await attempts.send(self.ctx, self.runtime.upstreams, channel, silence=None)
                self._response, self._accepted = response, True
                read = self._next = response.content.readany
                out = b""
                while not (self._reader.started or self._reader.done):
                    chunk = await read()
                    out += self._read(chunk)
                    if not chunk or self._reader.failed:
                        break
            if not self._reader.started:
                raise UpstreamFailure("error event" if self._reader.failed else "empty stream")
            opened = True
            self._kind = self._content_type(response)
            return out, [(b"content-type", self._kind), *returned_headers(response)]
        except (UpstreamFailure, ClientFault, asyncio.CancelledError):
            raise
        except Exception as error:
            raise attempts.as_failure(error) from error
        finally:
            if not opened and self._response is not None:
                response, self._response = self._response, None
                close(response, whole=False)

    def _content_type(self, response: aiohttp.ClientResponse) -> bytes:
        request = self.ctx.request
        assert request is not None
        named = DIALECTS[request.dialect].streaming.content_type
        return named(request) if named else response.headers.get("content-type", "").encode("ascii", "ignore")

    def _read(self, chunk: bytes) -> bytes:
        """What of a chunk goes to the client; an empty chunk is the end, and what it leaves unfinished."""
        reader = self._reader
        if not chunk:
            rest = self._splitter.rest()
            return reader.read_rest(rest) if rest or self._by_body else b""
        out = b""
        for event in self._splitter.feed(chunk):
            out += reader.read(event)
            if reader.done or reader.failed:
                break
        return out

    async def _pump(self) -> None:
        """Pass events on until the terminator, an error, or the end. Raises UpstreamFailure."""
        reader = self._reader
        read = self._next
        assert read is not None
        time_of = asyncio.get_running_loop().time
        self._mind_silence()
        try:
            while not (reader.done or reader.failed):
                self._waiting = time_of()
                chunk = await read()
                self._waiting = math.inf
                out = self._read(chunk)
                if out:
                    await self._send(out)
                if not chunk:
                    break
        except asyncio.CancelledError:
            if self._silent and not (self.gone or self._cut):
                raise UpstreamFailure("timeout", timeout=True) from None
            raise
        except Exception as error:
            raise attempts.as_failure(error) from error
        if reader.failed and not reader.finished:
            raise UpstreamFailure("error event")

    async def _send_head(self, headers: list[Header]) -> None:
        if not self.gone:
            await begin(self.ctx, 200, [*STREAM_HEADERS, *headers])

    async def _send(self, body: bytes, *, last: bool = False) -> None:
        if (body or last) and not self.gone:
            self._sending = asyncio.get_running_loop().time()
            try:
                await self.ctx.send({"type": "http.response.body", "body": body, "more_body": not last})
            except OSError:  # how ASGI says that the client has hung up: no failure of the upstream
                self.client_gone()
            self._sending = math.inf

    async def _conclude(self, failure: UpstreamFailure | None, *, interrupted: bool) -> None:
        """One capture, then the end of the stream."""
        reader = self._reader
        if reader.finished or reader.done:
            await self._complete()
        elif interrupted:
            await self._interrupted()
        else:
            await self._failed(failure or UpstreamFailure("cut by the upstream"))

    async def _complete(self) -> None:
        ctx, reader = self.ctx, self._reader
        estimated = reader.units is None
        counted = reader.units if reader.units is not None else await capture.estimate(ctx, reader.texts)
        units = capture.with_pieces(ctx, counted)
        try:
            now, held = reader.last(units, usd_number(capture.charged(ctx, units, estimated=estimated)))
        except Exception:
            log.exception("the end of the answer to request %s could not be written", ctx.request_id)
            await self._failed(UpstreamFailure("an end that cannot be read"))
            return
        health.concluded(ctx.attempts[-1], ctx.model)
        status = capture.CANCELLED if self.gone else capture.OK
        committed = self._capture(status, units, estimated=estimated)
        await self._send(now)
        if ctx.keep is not None and not self.gone:
            await ctx.keep(cast(Keeping, reader).output)
        if not await done_within(committed, COMMIT_SECONDS):
            await self._tell(RelayError("unavailable", "The answer could not be recorded in time."))
            return
        await self._send(held, last=True)

    async def _interrupted(self) -> None:
        """The client went away, or we are shutting down: what was asked and delivered is counted and charged."""
        ctx, reader = self.ctx, self._reader
        units: dict[str, int] = {}
        if ctx.attempts and ctx.attempts[-1]["outcome"] == "ok":
            health.concluded(ctx.attempts[-1], ctx.model)
        if self._accepted:
            units = reader.units or await capture.estimate(ctx, reader.texts)
            units = capture.with_pieces(ctx, units)
        self._capture(capture.CANCELLED, units, estimated=True, error_code="shutting_down" if self._cut else "")
        if not self.gone:
            await self._end_with(RelayError("shutting_down", "The relay is shutting down; the answer was cut short."))

    async def _failed(self, failure: UpstreamFailure) -> None:
        """Cut by the upstream before it had finished: it costs nothing; what was delivered is noted."""
        ctx, reader = self.ctx, self._reader
        ctx.attempts[-1]["outcome"] = failure.outcome
        health.concluded(ctx.attempts[-1], ctx.model)
        units = await capture.estimate(ctx, reader.texts)
        code = "upstream_timeout" if failure.timeout else "upstream_error"
        capture.finish(
            ctx,
            self.runtime.writer,
            status=capture.UPSTREAM_ERROR,
            http_status=200,
            units=units,
            estimated=True,
            error_code=code,
            charge=False,
        )
        await self._end_with(
            RelayError(code, "The upstream failed before it had finished; this answer is not charged.")
        )

    async def _end_with(self, error: RelayError) -> None:
        if self.ctx.response_started:
            try:
                async with asyncio.timeout(LAST_WORDS_SECONDS if self._cut else None):
                    await self._tell(error)
            except TimeoutError:
                return  # a client that does not read must not keep us from stopping
        elif not self.gone:
            raise error

    async def _tell(self, error: RelayError) -> None:
        """End a stream with an error; one that cannot say it, as audio cannot, is broken off: the body never ends."""
        reader = self._reader
        speaker = reader.encoder if isinstance(reader, ConvertingReader) else reader
        if hasattr(speaker, "error"):
            said: bytes | None = cast(Telling, speaker).error(error)
        else:
            said = stream_error(error, self.ctx.endpoint.protocol, content_type=self._kind)
        if said is not None:
            await self._send(said, last=True)

    def _capture(
        self, status: str, units: dict[str, int], *, estimated: bool, error_code: str = ""
    ) -> asyncio.Future[object]:
        return capture.finish(
            self.ctx,
            self.runtime.writer,
            status=status,
            http_status=200,
            units=units,
            upstream_nanos=capture.upstream_nanos(self.ctx, self.runtime.snapshot, units),
            estimated=estimated,
            error_code=error_code,
        )
