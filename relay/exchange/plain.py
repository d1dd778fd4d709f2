"""An answer that is not streamed: read whole, captured, then sent. It is finished even if the client goes away."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from channels_app.snapshot import ChannelInfo
from costrouter.lib.money import usd_number
from relay.errors import RelayError
from relay.exchange import attempts, capture
from relay.exchange.attempts import ClientFault, try_channels
from relay.exchange.capture import COMMIT_SECONDS
from relay.exchange.context import Context
from relay.exchange.reply import Header, Reply
from relay.exchange.runtime import Runtime
from relay.protocols.base import Answer
from relay.tasks import done_within, off_loop, spawn
from relay.upstream.connections import MAX_ANSWER_BYTES, UpstreamFailure, returned_headers

log = logging.getLogger(__name__)
T = TypeVar("T")


class WholeExchange(ABC, Generic[T]):
    """One request and what a channel answered whole, in a task of its own: it goes on even if its client goes away."""

    def __init__(self, ctx: Context, runtime: Runtime) -> None:
        self.ctx = ctx
        self.runtime = runtime
        self._trying = True
        self.task = spawn(self._run(), name=f"whole {ctx.request_id}")
        runtime.exchanges.add(self)
        self.task.add_done_callback(self._over)

    def cut(self) -> None:
        """End it now, unless it has its answer. Nothing was delivered: it costs nothing."""
        if self._trying:
            self._trying = False
            self.task.cancel()

    def _over(self, _: object) -> None:
        self.runtime.exchanges.discard(self)
        capture.ensure(self.ctx, self.runtime.writer)

    async def _run(self) -> Reply:
        ctx, writer = self.ctx, self.runtime.writer
        try:
            answered = await try_channels(ctx, self._attempt)
        except ClientFault as fault:
            capture.finish(
                ctx, writer, status=capture.REFUSED, http_status=fault.status, error_code="refused_by_upstream"
            )
            return Reply(fault.status, fault.headers, fault.body)
        except RelayError as error:
            capture.finish(ctx, writer, status=capture.UPSTREAM_ERROR, http_status=error.status, error_code=error.code)
            raise
        except asyncio.CancelledError:
            capture.finish(ctx, writer, status=capture.CANCELLED, http_status=503, error_code="shutting_down")
            raise RelayError("shutting_down", "The relay is shutting down; try again.") from None
        finally:
            self._trying = False
        return await self._deliver(answered)

    @abstractmethod
    async def _attempt(self, channel: ChannelInfo) -> T:
        """What a channel answers. Raises UpstreamFailure or ClientFault."""

    @abstractmethod
    async def _deliver(self, answered: T) -> Reply:
        """What the client gets for it; the request is captured, or its hold is somebody else's, afterwards."""


class PlainExchange(WholeExchange[tuple[Answer, list[Header]]]):
    """One request and its answer, which is captured and then sent."""

    _size = 0

    async def _attempt(self, channel: ChannelInfo) -> tuple[Answer, list[Header]]:
        timeout = channel.answer_timeout
        response, body = await attempts.ask(
            self.ctx, self.runtime.upstreams, channel, seconds=timeout, silence=timeout, limit=MAX_ANSWER_BYTES
        )
        self._size = len(body)
        try:
            answer = await off_loop(lambda: self.ctx.ways[channel.id].read_answer(body), size=self._size)
        except Exception as error:
            log.exception("an answer to request %s could not be read", self.ctx.request_id)
            raise UpstreamFailure("an answer that cannot be read") from error
        if answer is None:
            raise UpstreamFailure("not a completion")
        if answer.content_type == b"":
            answer.content_type = response.headers.get("content-type", "").encode("ascii", "ignore")
        return answer, returned_headers(response)

    async def _deliver(self, answered: tuple[Answer, list[Header]]) -> Reply:
        ctx, writer = self.ctx, self.runtime.writer
        answer, headers = answered
        estimated = answer.units is None
        counted = answer.units if answer.units is not None else await capture.estimate(ctx, answer.texts)
        units = capture.with_pieces(ctx, counted)
        cost = usd_number(capture.charged(ctx, units, estimated=estimated))
        body = await self._rendered(answer, units, cost)
        committed = capture.finish(
            ctx,
            writer,
            status=capture.OK,
            http_status=200,
            units=units,
            upstream_nanos=capture.upstream_nanos(ctx, self.runtime.snapshot, units),
            estimated=estimated,
        )
        if ctx.keep is not None:
            await ctx.keep(body)
        if not await done_within(committed, COMMIT_SECONDS):
            raise RelayError("unavailable", "The answer could not be recorded in time; it was not delivered.")
        return Reply(
            200,
            [
                (b"content-type", answer.content_type),
                (b"x-costrouter-cost", cost.encode()),
                *headers,
            ],
            body,
        )

    async def _rendered(self, answer: Answer, units: dict[str, int], cost: str) -> bytes:
        """What the client gets. An answer that cannot be said in its dialect is not charged. Raises RelayError."""
        ctx = self.ctx
        try:
            return await off_loop(lambda: answer.render(units, cost), size=self._size)
        except Exception as cause:
            log.exception("the answer to request %s could not be written", ctx.request_id)
            error = RelayError("upstream_error", "The upstream's answer could not be read; it was not charged.")
            capture.finish(
                ctx,
                self.runtime.writer,
                status=capture.UPSTREAM_ERROR,
                http_status=error.status,
                units=units,
                error_code=error.code,
                charge=False,
            )
            raise error from cause
