"""Asking for a video: priced, held, sent to a channel, stored once that has accepted it. It is charged when made."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import cast

import msgspec
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from channels_app.snapshot import ChannelInfo
from relay.entry.multipart import Form, Upload, is_form, read_form
from relay.errors import RelayError
from relay.exchange import attempts, capture, pipeline
from relay.exchange.attempts import ClientFault
from relay.exchange.context import Context
from relay.exchange.convert import Way
from relay.exchange.plain import WholeExchange
from relay.exchange.reply import Reply, send_reply
from relay.exchange.runtime import Runtime
from relay.models import VideoTask
from relay.protocols.base import Request, Target
from relay.protocols.data_urls import data_url
from relay.protocols.error_shapes import error_body
from relay.protocols.videos.openai import USUAL_PIXELS, State, VideoApi, parse, parse_remix, pixels
from relay.snapshot import utc_now
from relay.tasks import done_within, in_thread, off_loop
from relay.upstream.connections import UpstreamFailure
from relay.upstream.secrets import echoes
from relay.videos import tasks as video_tasks
from relay.videos.apis import api_of
from relay.videos.asks import MAX_BYTES

log = logging.getLogger(__name__)
# Accepting a video takes an upstream seconds; three channels of this fit into what the hold stands for meanwhile.
ACCEPT_SECONDS = 300.0
# Seconds between the times that a database which is away is asked to store what an upstream has accepted.
PATIENCE = (0.1, 0.5, 2.0)
_SLICE = 256 * 1024


@dataclass(slots=True)
class VideoWay:
    """How a channel is asked for a video: a way of `relay.exchange.convert`, whose body may be a form."""

    api: VideoApi
    request: Request
    form: Form | None
    converts: bool

    @property
    def spoken(self) -> str:
        return self.api.name

    def body(self, target: Target) -> bytes | Upload:
        """The body for an upstream. Raises RelayError for what it cannot express."""
        said = self.api.body(self.request, target)
        return self.form.upload(said) if self.form is not None and not self.converts else said


async def create(ctx: Context, runtime: Runtime, _: str) -> None:
    """`POST /v1/videos`."""
    pipeline.require_writer(runtime)
    body = await pipeline.read_body(ctx)
    form = None
    content_type = ctx.headers.get(b"content-type", b"")
    if is_form(content_type):
        form = await read_form(_slices(body), content_type, limit=settings.MAX_BODY_BYTES)
        body = form.description()
    try:
        ctx.size = len(body)
        ctx.request = await off_loop(lambda: parse(body), size=len(body))
        if ctx.request.options.file and form is None:
            raise RelayError("invalid_request", "A file can only be sent in a form.", param="input_reference")
        await _submit(ctx, runtime, form, None)
    finally:
        if form is not None:
            form.close()


async def remix(ctx: Context, runtime: Runtime, source: VideoTask, channel: ChannelInfo) -> None:
    """`POST /v1/videos/{id}/remix`, of a video that is completed, at the channel that has it."""
    body = await pipeline.read_body(ctx)
    content_type = ctx.headers.get(b"content-type", b"")
    if is_form(content_type):
        form = await read_form(_slices(body), content_type, limit=settings.MAX_BODY_BYTES)
        body = form.description()
        form.close()
    ctx.request = parse_remix(body, model=source.model, upstream_id=source.upstream_id)
    ctx.request.options.seconds, ctx.request.options.size = source.seconds, source.size or None
    await _submit(ctx, runtime, None, source)


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    """A body in parts, with room for others in between."""
    for start in range(0, len(body), _SLICE):
        yield body[start : start + _SLICE]
        await asyncio.sleep(0)


async def _submit(ctx: Context, runtime: Runtime, form: Form | None, source: VideoTask | None) -> None:
    request = ctx.request
    assert request is not None
    ctx.model = request.model
    await pipeline.admit(ctx, runtime)
    try:
        _price(ctx, runtime)
        await _find_ways(ctx, form, source)
        await pipeline.hold(ctx, runtime)
    except BaseException:
        ctx.admission.release(0)
        raise
    exchange = Submission(ctx, runtime, source)
    await done_within(exchange.task)
    await send_reply(ctx, exchange.task.result())


def _price(ctx: Context, runtime: Runtime) -> None:
    """What it costs. A larger picture has a price of its own, whose tier is its size. Raises RelayError."""
    pipeline.price(ctx, runtime)
    request, route = ctx.request, ctx.route
    assert request is not None and route is not None and ctx.rates is not None
    size = request.options.size
    if size is not None and (pixels(size) or 0) > USUAL_PIXELS:
        if any(feature.tier for feature in request.features):
            raise RelayError("unpriced_feature", "service_tier and size have no price together.", param="size")
        price = runtime.snapshot.price(ctx.model, size, utc_now())
        if price is None:
            raise RelayError(
                "unpriced_feature", f"size {size} has no price of its own here for {ctx.model}.", param="size"
            )
        ctx.price, ctx.rates = price, runtime.snapshot.rates(price, route.group.rate)


async def _find_ways(ctx: Context, form: Form | None, source: VideoTask | None) -> None:
    """How each channel is asked, and for how many seconds at most. Raises RelayError where none can be."""
    request, route, rates = ctx.request, ctx.route, ctx.rates
    assert request is not None and route is not None and rates is not None
    wanted = request.options
    channels = [c for c in route.channels if source is None or c.id == source.channel_id]
    if source is not None and not channels:
        raise RelayError("no_channel", "The channel that has this video is not available now.")
    apis = {channel.id: api for channel in channels if (api := api_of(channel.provider)) is not None}
    if wanted.file and form is not None and any(api.name != request.dialect for api in apis.values()):
        wanted.image_url = await in_thread(lambda: _picture(form))
    problem: RelayError | None = None
    ways: dict[int, VideoWay] = {}
    for channel in channels:
        api = apis.get(channel.id)
        if api is None:
            continue
        asked = replace(
            request, pieces=video_tasks.units_of(rates.explicit, seconds=wanted.seconds or api.default_seconds)
        )
        way = VideoWay(api, asked, form, converts=api.name != request.dialect)
        try:
            way.body(Target(model=request.model))
        except RelayError as error:
            problem = problem or error
        else:
            ways[channel.id] = way
    if not ways:
        raise problem or RelayError(
            "unsupported_endpoint", f"No channel of {ctx.model} serves this endpoint.", param="model"
        )
    request.pieces = max((way.request.pieces for way in ways.values()), key=rates.cost_nanos)
    ctx.ways = cast(dict[int, Way], ways)
    ctx.route = replace(route, channels=tuple(channel for channel in channels if channel.id in ways))


def _picture(form: Form) -> str:
    """The picture of a form as a `data:` URL. Blocks."""
    [part] = form.files("input_reference")
    assert part.data is not None
    part.data.seek(0)
    return data_url(part.content_type, base64.b64encode(part.data.read()).decode())


class Submission(WholeExchange[State]):
    """One request for a video. What a channel accepted is stored; from then on it is a task of its own."""

    def __init__(self, ctx: Context, runtime: Runtime, source: VideoTask | None) -> None:
        self.source = source
        super().__init__(ctx, runtime)

    async def _deliver(self, answered: State) -> Reply:
        ctx, writer = self.ctx, self.runtime.writer
        task = self._row(answered)
        try:
            await _stored(task)
        except video_tasks.HoldGone:
            late = RelayError("upstream_timeout", "The upstream did not accept this video in time; it was not charged.")
            capture.finish(ctx, writer, status=capture.UPSTREAM_ERROR, http_status=late.status, error_code=late.code)
            raise late from None
        # From here on its hold is the task's.
        ctx.finished = True
        ctx.admission.release(0)
        return Reply(200, [(b"content-type", b"application/json")], msgspec.json.encode(video_tasks.view(task)))

    async def _attempt(self, channel: ChannelInfo) -> State:
        ctx, api = self.ctx, self._way(channel).api
        timeout = channel.answer_timeout
        seconds = min(timeout, ACCEPT_SECONDS)
        _, body = await attempts.ask(
            ctx, self.runtime.upstreams, channel, seconds=seconds, silence=timeout, limit=MAX_BYTES
        )
        problem = api.problem(body)
        if problem is not None:
            if problem.is_clients and not echoes(channel.credentials, problem.message.encode()):
                said = error_body(RelayError("refused_by_upstream", problem.message), ctx.endpoint.protocol)
                raise ClientFault(problem.status, said, [(b"content-type", b"application/json")])
            raise UpstreamFailure(f"error {problem.code}", status=problem.status)
        state = api.read(body)
        if state is None:
            raise UpstreamFailure("not a video")
        return state

    def _way(self, channel: ChannelInfo) -> VideoWay:
        return cast(VideoWay, self.ctx.ways[channel.id])

    def _row(self, state: State) -> VideoTask:
        """The task of a video that was accepted. Even one that is made at once is seen to end only when it is asked."""
        ctx, source = self.ctx, self.source
        assert ctx.caller is not None and ctx.request is not None and ctx.channel is not None
        assert ctx.rates is not None and ctx.price is not None
        way, key, now = self._way(ctx.channel), ctx.caller.key, timezone.now()
        wanted = ctx.request.options
        record = capture.record_of(ctx, self.runtime.writer, status=capture.OK, http_status=200)
        record.held_nanos = ctx.granted or 0
        record.price_id, record.rate = ctx.rates.price_id, str(ctx.rates.rate)
        return VideoTask(
            id=video_tasks.new_id(),
            request_id=ctx.request_id,
            organization_id=key.organization_id,
            user_id=key.user_id,
            api_key_id=key.id,
            channel_id=ctx.channel.id,
            upstream_id=state.upstream_id,
            model=ctx.model,
            group=key.group,
            status="queued" if state.status == "queued" else "in_progress",
            progress=min(state.progress, 99),
            prompt=wanted.prompt.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}"),
            seconds=state.seconds or wanted.seconds or way.api.default_seconds,
            size=state.size or wanted.size or "",
            remixed_from=source.pk if source is not None else "",
            price_id=ctx.rates.price_id,
            rate=ctx.rates.rate,
            cost_multiplier=ctx.channel.cost_multiplier,
            budget_ids=[*ctx.caller.budgets],
            record=msgspec.json.encode(record).decode(),
            created_at=now,
            deadline=now + video_tasks.DEADLINE,
            poll_at=now + video_tasks.POLL_FIRST,
        )


async def _stored(task: VideoTask) -> None:
    """Store what an upstream has accepted, though the database be away for a moment."""
    for wait in PATIENCE:
        try:
            await in_thread(lambda: video_tasks.store(task))
        except OperationalError:
            log.warning("video %s could not be stored; trying again", task.pk)
            await asyncio.sleep(wait)
        else:
            return
    await in_thread(lambda: video_tasks.store(task))
