"""A realtime session: one websocket and its upstream, and what is held, captured and released for its responses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace

import aiohttp

from billing.writing.items import Refused
from billing.writing.writer import WriterUnavailable
from channels_app.snapshot import ChannelInfo
from costrouter.lib import ids
from relay.entry import auth
from relay.entry.limits.admission import FREE
from relay.errors import RelayError
from relay.exchange import attempts, capture, pipeline, tokens
from relay.exchange.context import Context
from relay.exchange.convert import is_native
from relay.exchange.quote import UNKNOWN_MAX_OUTPUT, Quote
from relay.exchange.runtime import Runtime
from relay.protocols import realtime
from relay.protocols.base import Request
from relay.routing import health
from relay.tasks import done_within, in_heavy_thread, spawn
from relay.upstream.connections import UpstreamFailure, forwarded_headers
from relay.upstream.providers.base import Call
from relay.upstream.secrets import echoes

log = logging.getLogger(__name__)
# What a session may cost at once, where the catalogue does not know its model: OpenAI's own context window and cap.
CONTEXT_WINDOW, MAX_OUTPUT = 32_768, 4_096
# A record's id is the session's and a number, in a column of 40 characters.
MAX_RESPONSES = 999
# After its client has gone, how long a response that was cancelled is waited for.
LAST_SECONDS = 5.0
MAX_EVENT_BYTES = 16 * 1024 * 1024
SWITCHED = 101
_NORMAL, _TRY_AGAIN, _POLICY, _BROKEN = 1000, 1012, 1008, 1011
# How an upstream's side ends where it did not close it, or says that it failed.
_ABNORMAL = (1006, 1011)


class Session:
    """One websocket and its upstream. `held` are the responses that are paid for and not yet over."""

    def __init__(self, ctx: Context, runtime: Runtime) -> None:
        self.ctx = ctx
        self.runtime = runtime
        self.held: deque[Context] = deque()
        self._number = 0
        # Responses that the client asked for, and that the upstream has begun.
        self._asked = self._begun = 0
        self._context = 0
        self._used = 0
        self._heard = realtime.Heard()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._cut = self._lost = False
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read what is asked, hold for the first response, and connect a channel. Raises RelayError."""
        ctx, runtime = self.ctx, self.runtime
        ctx.model, ctx.streamed = self._model(), True
        ctx.request = Request("realtime", {}, ctx.model)
        await pipeline.admit(ctx, runtime)
        pipeline.price(ctx, runtime)
        assert ctx.route is not None
        able = tuple(channel for channel in ctx.route.channels if is_native(channel, "realtime", ctx.model))
        if not able:
            raise RelayError("unsupported_endpoint", f"No channel of {ctx.model} serves this endpoint.", param="model")
        ctx.route = replace(ctx.route, channels=able)
        await self._hold()
        try:
            self._socket = await attempts.try_channels(ctx, self._connect, whole=False)
        except RelayError as error:
            self._finish(self.held.popleft(), capture.UPSTREAM_ERROR, error_code=error.code, http_status=error.status)
            ctx.finished = True
            raise
        except BaseException:
            self._release()
            raise
        for response in self.held:
            response.channel, response.attempts = ctx.channel, ctx.attempts

    def _model(self) -> str:
        from urllib.parse import parse_qs

        asked = parse_qs(auth.without_key(self.ctx.query))
        for name in ("call_id", "intent"):
            if name in asked:
                raise RelayError("unsupported_field", f"{name} cannot be relayed.", param=name)
        model = asked.get("model", [""])[0]
        if not model:
            raise RelayError("missing_model", "You must provide a model parameter.", param="model")
        return model

    async def _connect(self, channel: ChannelInfo) -> aiohttp.ClientWebSocketResponse:
        call = Call(channel.base_url, "realtime", channel.models[self.ctx.model], credentials=channel.credentials)
        headers = forwarded_headers(self.ctx.headers, "chat")
        return await self.runtime.upstreams.connect(channel, call, headers=headers, max_bytes=MAX_EVENT_BYTES)

    async def _hold(self) -> None:
        """Hold for one response: the whole context window, and the longest answer. Raises RelayError."""
        ctx, route, rates, key = self.ctx, self.ctx.route, self.ctx.rates, auth.key_of(self.ctx.headers, self.ctx.query)
        assert route is not None and rates is not None
        if self._number >= MAX_RESPONSES:
            raise RelayError("unavailable", "This session has had its most responses; open another.")
        if self._number:
            # A session may outlive its key.
            ctx.caller = await auth.identify(key, self.runtime.keys)
            auth.authorize(ctx.caller, ctx.client_ip)
        self._number += 1
        window = route.model.context_window or CONTEXT_WINDOW
        longest = min(route.model.max_output or MAX_OUTPUT, UNKNOWN_MAX_OUTPUT)
        fixed = rates.input_numerator(text=0, audio=window)
        each = rates.output_numerator(audio=True, input_tokens=window)
        whole = rates.nanos(fixed + longest * each)
        quoted = Quote(rates, window, fixed, each, 1, whole, whole)
        response = replace(
            ctx,
            request_id=f"{ctx.request_id}:{self._number}",
            started=time.monotonic(),
            created_at="",
            attempts=list(ctx.attempts),
            admission=FREE,
            input_bound=window,
        )
        future = self.runtime.writer.hold(pipeline.hold_item(response, self.runtime.writer, quoted))
        try:
            await done_within(future)
            outcome = future.result()
        except asyncio.CancelledError:
            future.add_done_callback(lambda _: self._finish(response, capture.CANCELLED))
            raise
        except WriterUnavailable:
            self._finish(response, capture.CANCELLED, error_code="unavailable")
            raise RelayError("unavailable", "Requests cannot be recorded now; try again.") from None
        if isinstance(outcome, Refused):
            raise pipeline.too_little(outcome, quoted)
        assert outcome is not None
        response.granted = outcome.amount
        self.held.append(response)

    def abandon(self) -> None:
        """End a session that was opened and never began."""
        assert self._socket is not None
        spawn(self._socket.close(), name=f"realtime end {self.ctx.request_id}")
        health.concluded(self.ctx.attempts[-1], self.ctx.model)
        self._release()

    def start(self) -> asyncio.Task[None]:
        """Relay in a task of its own, which ends when either side closes."""
        self._task = spawn(self._run(), name=f"realtime {self.ctx.request_id}")
        self.runtime.exchanges.add(self)
        self._task.add_done_callback(self._over)
        return self._task

    def cut(self) -> None:
        """End it now: what was begun is captured for what it delivered."""
        if self._task is not None and not self._cut:
            self._cut = True
            self._task.cancel()

    def _over(self, _: object) -> None:
        self.runtime.exchanges.discard(self)
        self._release()

    async def _run(self) -> None:
        up = spawn(self._upwards(), name=f"realtime up {self.ctx.request_id}")
        down = spawn(self._downwards(), name=f"realtime down {self.ctx.request_id}")
        error: RelayError | None = None
        code, failed = _NORMAL, False
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            if self._lost:
                await asyncio.wait((down,))
            if up.done() and not self._lost:
                await self._last_words(down)
            else:
                code, error, failed = _outcome(down)
        except asyncio.CancelledError:
            code, error = _TRY_AGAIN, RelayError("shutting_down", "The relay is shutting down.")
        finally:
            assert self._socket is not None
            broken = failed and (self._begun > 0 or self._socket.close_code in _ABNORMAL or _failed(down))
            up.cancel()
            down.cancel()
            spawn(self._socket.close(), name=f"realtime end {self.ctx.request_id}")
        note = self.ctx.attempts[-1]
        health.concluded({**note, "outcome": "cut by the upstream"} if broken else note, self.ctx.model)
        await self._conclude(failed=failed)
        if self._lost or not up.done() or up.cancelled():
            await self._close(code, error)

    async def _upwards(self) -> None:
        """The client's events, until it closes."""
        assert self._socket is not None
        while (message := await self.ctx.receive())["type"] == "websocket.receive":
            text = message.get("text")
            event = text if text is not None else message["bytes"].decode("utf-8", "replace")
            try:
                event = realtime.checked(event, self.ctx.model)
            except RelayError as error:
                await self._tell(error)
                continue
            kind = realtime.type_of(event)
            self._heard.sent(kind, event)
            self._asked += kind == "response.create"
            try:
                await self._socket.send_str(event)
            except (aiohttp.ClientError, ConnectionError):
                self._lost = True
                return

    async def _downwards(self) -> None:
        """The upstream's events, until it closes or a response cannot be held for. Raises RelayError."""
        assert self._socket is not None
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            event, kind = message.data, realtime.type_of(message.data)
            if kind in ("response.created", "error"):
                self._asked = max(0, self._asked - 1)
            if kind == "response.created":
                self._begun += 1
                if self._begun > len(self.held):
                    await self._hold()
            elif kind == "response.done":
                await self._done(event)
                continue
            elif kind == "error" and self._echoes(event):
                raise UpstreamFailure("credentials in an error")
            else:
                self._heard.received(kind, event)
            await self._say(event)

    def _echoes(self, event: str) -> bool:
        assert self.ctx.channel is not None
        return echoes(self.ctx.channel.credentials, event.encode("utf-8", "replace"))

    async def _done(self, event: str) -> None:
        """A response is over: commit its charge, hold for the next, and only then say so."""
        said = realtime.done(event)
        self._context = said.context or self._context
        committed = await self._capture(said) if self.held else None
        self._begun = max(0, self._begun - 1)
        self._heard = realtime.Heard()
        refused: RelayError | None = None
        try:
            if len(self.held) <= self._begun:
                await self._hold()
        except RelayError as error:
            refused = error
        if committed is not None and not await done_within(committed, capture.COMMIT_SECONDS):
            raise RelayError("unavailable", "The answer could not be recorded in time.")
        await self._say(event)
        if refused is not None:
            raise refused

    async def _capture(self, said: realtime.Done) -> asyncio.Future[object]:
        """Capture the response that is over. While it is counted it stays among those that are held."""
        if said.units is None and said.failed:
            return self._finish(self.held.popleft(), capture.UPSTREAM_ERROR, error_code="upstream_error")
        units = said.units if said.units is not None else await self._estimate()
        return self._finish(self.held.popleft(), capture.OK, units=units, estimated=said.units is None)

    async def _estimate(self) -> dict[str, int]:
        """Units of what was heard; a tokenizer that fails must not lose the charge."""
        heard = self._heard
        try:
            read = await in_heavy_thread(lambda: tokens.count(heard.texts_in))
            made = await in_heavy_thread(lambda: tokens.count(["".join(heard.texts_out)]))
        except Exception:
            log.exception("realtime session %s could not be counted", self.ctx.request_id)
            read, made = heard.guess()
        return heard.units(self._context, read, made)

    async def _last_words(self, down: asyncio.Task[None]) -> None:
        """The client has gone: a response that was asked for is cancelled upstream, and read for its usage."""
        if not (self._asked or self._begun) or down.done():
            return
        assert self._socket is not None
        try:
            await self._socket.send_str('{"type":"response.cancel"}')
        except (aiohttp.ClientError, ConnectionError):
            return
        ended = time.monotonic() + LAST_SECONDS
        while (self._asked or self._begun) and not down.done() and time.monotonic() < ended:
            await asyncio.wait((down,), timeout=0.05)

    async def _conclude(self, *, failed: bool) -> None:
        """What was begun and is not over is charged for what it delivered, unless the upstream broke it off."""
        while self._begun and self.held:
            units = {} if failed else await self._estimate()
            status, code = (capture.UPSTREAM_ERROR, "upstream_error") if failed else (capture.CANCELLED, "")
            self._finish(self.held.popleft(), status, units=units, estimated=not failed, error_code=code)
            self._begun -= 1
            self._heard = realtime.Heard()
        self._release()

    def _release(self) -> None:
        """What was held and never begun is given back; the session's own end is its record."""
        while self.held:
            self._finish(self.held.popleft(), capture.OK)
        self.ctx.finished = True
        self.ctx.admission.release(self._used)

    def _finish(
        self,
        response: Context,
        status: str,
        *,
        units: dict[str, int] | None = None,
        estimated: bool = False,
        error_code: str = "",
        http_status: int = SWITCHED,
    ) -> asyncio.Future[object]:
        units = units or {}
        self._used += capture.used_tokens(units)
        response.channel, response.attempts = self.ctx.channel, self.ctx.attempts
        spent = capture.upstream_nanos(response, self.runtime.snapshot, units) if units else 0
        return capture.finish(
            response,
            self.runtime.writer,
            status=status,
            http_status=http_status,
            units=units,
            upstream_nanos=spent,
            estimated=estimated,
            error_code=error_code,
        )

    async def _say(self, event: str) -> None:
        # A client that has gone hears nothing, but what it asked for is read on for its usage.
        with suppress(OSError):
            await self.ctx.send({"type": "websocket.send", "text": event})

    async def _tell(self, error: RelayError) -> None:
        await self._say(realtime.error_event(error, "event_" + ids.request_id().removeprefix("req_")[:20]))

    async def _close(self, code: int, error: RelayError | None) -> None:
        try:
            async with asyncio.timeout(1.0):
                if error is not None:
                    await self._tell(error)
                await self.ctx.send({"type": "websocket.close", "code": code})
        except Exception:
            log.debug("realtime session %s: the client was gone", self.ctx.request_id)


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def _outcome(down: asyncio.Task[None]) -> tuple[int, RelayError | None, bool]:
    """Why the upstream's side ended: the code to close with, what to tell the client, whether the upstream failed."""
    failure = down.exception()
    if isinstance(failure, RelayError):
        return _POLICY, failure, False
    return (_BROKEN if failure is not None else _NORMAL), None, True
