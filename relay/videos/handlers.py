"""Videos that were asked for: listed, looked at, downloaded and deleted. Asked for in `relay.videos.submit`."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

import aiohttp
import msgspec
from yarl import URL

from channels_app.snapshot import ChannelInfo
from relay.errors import RelayError
from relay.exchange import pipeline
from relay.exchange.attempts import verdict
from relay.exchange.capture import COMMIT_SECONDS
from relay.exchange.context import Context
from relay.exchange.reply import Header, Reply, begin, send_reply
from relay.exchange.runtime import Runtime
from relay.models import VideoTask
from relay.protocols.videos.openai import VideoApi
from relay.routing import health
from relay.snapshot import utc_now
from relay.tasks import done_within, in_thread, spawn
from relay.upstream.connections import UpstreamFailure, close
from relay.videos import submit as video_submit
from relay.videos import tasks as video_tasks
from relay.videos.apis import api_of
from relay.videos.asks import ask, ask_link, call_of

DEFAULT_PAGE, MAX_PAGE = 20, 100
# Of an upstream's headers, those of a video's bytes that go to the client; and of the client's, those that go there.
_CONTENT_HEADERS = ("content-length", "content-range", "accept-ranges", "etag", "last-modified")
_ASKED_HEADERS = (b"range", b"if-range")
_SERVED = (200, 206, 416)
_BYTES = "application/octet-stream"


async def get_video(ctx: Context, runtime: Runtime, task_id: str) -> None:
    """`GET /v1/videos/{id}`."""
    await _send(ctx, 200, video_tasks.view(await _looked_at(ctx, runtime, task_id)))


async def list_videos(ctx: Context, runtime: Runtime, _: str) -> None:
    """`GET /v1/videos`: an organization's videos, the newest first."""
    assert ctx.caller is not None
    organization_id, query = ctx.caller.key.organization_id, parse_qs(ctx.query)
    after, limit, order = (query.get(name, [""])[0] for name in ("after", "limit", "order"))
    most = int(limit or DEFAULT_PAGE) if limit.isascii() and (limit.isdigit() or not limit) and len(limit) < 6 else -1
    if not 0 <= most <= MAX_PAGE:
        raise RelayError("invalid_request", f"limit must be a whole number from 0 to {MAX_PAGE}.", param="limit")
    if order not in ("", "asc", "desc"):
        raise RelayError("invalid_request", "order must be asc or desc.", param="order")
    found = await in_thread(
        lambda: video_tasks.page(
            organization_id=organization_id, after=after or None, limit=most, ascending=order == "asc"
        )
    )
    if found is None:
        raise _unknown(after)
    tasks, has_more = found
    ends = {"first_id": tasks[0].pk, "last_id": tasks[-1].pk} if tasks else {"first_id": None, "last_id": None}
    await _send(
        ctx, 200, {"object": "list", "data": [video_tasks.view(task) for task in tasks], "has_more": has_more, **ends}
    )


async def delete_video(ctx: Context, runtime: Runtime, task_id: str) -> None:
    """`DELETE /v1/videos/{id}`: of one that has ended; it is charged all the same."""
    task = await _looked_at(ctx, runtime, task_id)
    if task.status in VideoTask.OPEN:
        raise RelayError("invalid_request", "This video is still being made; only one that has ended can be deleted.")
    channel, api = _place(runtime, task)
    if api.keeps:
        try:
            response = await runtime.upstreams.send(
                channel,
                call_of(channel, task, api.status(task.upstream_id)),
                body=b"",
                headers=[],
                silence=channel.answer_timeout,
                method="DELETE",
            )
            close(response, whole=False)
            if not 200 <= response.status < 300 and response.status != 404:  # what is gone is deleted
                raise UpstreamFailure(f"status {response.status}", status=response.status)
        except UpstreamFailure as failure:
            raise verdict([failure]) from failure
    await in_thread(lambda: video_tasks.delete(task))
    await _send(ctx, 200, {"id": task.pk, "object": "video.deleted", "deleted": True})


async def remix(ctx: Context, runtime: Runtime, task_id: str) -> None:
    """`POST /v1/videos/{id}/remix`: a new video from one that is there, at the channel that has it."""
    pipeline.require_writer(runtime)
    task = await _looked_at(ctx, runtime, task_id)
    if task.status != VideoTask.Status.COMPLETED:
        raise _not_there(task)
    channel, _ = _place(runtime, task)
    await video_submit.remix(ctx, runtime, task, channel)


async def content(ctx: Context, runtime: Runtime, task_id: str) -> None:
    """`GET /v1/videos/{id}/content`: its bytes, as they come."""
    variant = parse_qs(ctx.query).get("variant", ["video"])[0]
    task = await _looked_at(ctx, runtime, task_id)
    if task.status != VideoTask.Status.COMPLETED:
        raise _not_there(task)
    channel, api = _place(runtime, task)
    if variant not in api.variants:
        raise RelayError("invalid_request", f"variant must be {' or '.join(sorted(api.variants))}.", param="variant")
    asked = [(name.decode(), ctx.headers[name].decode("latin-1")) for name in _ASKED_HEADERS if name in ctx.headers]
    try:
        with health.watched(channel.id, task.model):
            response = await _open(runtime, channel, task, api, variant, asked)
    except UpstreamFailure as failure:
        raise verdict([failure]) from failure
    if response.status not in _SERVED:
        close(response, whole=False)
        if response.status in (404, 410):
            raise RelayError("not_found", "The upstream does not have this video any more.")
        raise verdict([UpstreamFailure(f"status {response.status}", status=response.status)])
    await _pass_on(ctx, channel, response)


async def _open(
    runtime: Runtime,
    channel: ChannelInfo,
    task: VideoTask,
    api: VideoApi,
    variant: str,
    headers: list[tuple[str, str]],
) -> aiohttp.ClientResponse:
    """The head of a video's bytes, wherever they are. Raises UpstreamFailure."""
    upstreams, action = runtime.upstreams, api.content(task.upstream_id, task.asset, variant)
    if api.link is not None:
        url = await ask_link(upstreams, channel, task, api, action)
        return await upstreams.fetch(channel, url, headers=headers, silence=channel.idle_timeout)
    call = call_of(channel, task, action)
    response = await upstreams.send(
        channel, call, body=b"", headers=headers, silence=channel.idle_timeout, method="GET"
    )
    if response.status in (301, 302, 303, 307, 308):
        close(response, whole=False)
        url = str(response.url.join(URL(response.headers.get("location", ""))))
        return await upstreams.fetch(channel, url, headers=headers, silence=channel.idle_timeout)
    return response


async def _pass_on(ctx: Context, channel: ChannelInfo, response: aiohttp.ClientResponse) -> None:
    """Send a body as it comes, no faster than the client takes it. What was cut there is cut here."""
    # A page would run on the console's own origin.
    kind = response.content_type if response.content_type.startswith(("video/", "image/")) else _BYTES
    headers: list[Header] = [(b"content-type", kind.encode("ascii", "ignore"))]
    headers += [
        (name.encode(), response.headers[name].encode("latin-1", "ignore"))
        for name in _CONTENT_HEADERS
        if name in response.headers
    ]
    whole = False
    watch = spawn(pipeline.disconnected(ctx.receive), name=f"watch {ctx.request_id}")
    watch.add_done_callback(lambda ended: None if ended.cancelled() else response.close())
    try:
        await begin(ctx, response.status, headers)
        while part := await response.content.readany():
            async with asyncio.timeout(channel.idle_timeout):
                await ctx.send({"type": "http.response.body", "body": part, "more_body": True})
        whole = True
        await ctx.send({"type": "http.response.body", "body": b"", "more_body": False})
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise pipeline.ClientGone from error  # the head has left: there is nobody to tell
    finally:
        watch.cancel()
        close(response, whole=whole)


async def _looked_at(ctx: Context, runtime: Runtime, task_id: str) -> VideoTask:
    """A video of the caller's organization, as its upstream has it now; charged if it is completed."""
    assert ctx.caller is not None
    organization_id = ctx.caller.key.organization_id
    task = await in_thread(lambda: video_tasks.find(task_id, organization_id=organization_id))
    if task is None:
        raise _unknown(task_id)
    if task.status not in VideoTask.OPEN:
        return task
    late = task.deadline <= utc_now()
    try:
        channel, api = _place(runtime, task)
        with health.watched(channel.id, task.model):
            async with asyncio.timeout(channel.answer_timeout):
                state = await ask(runtime.upstreams, channel, task, api)
    except (RelayError, UpstreamFailure, TimeoutError) as error:
        if late:
            return await in_thread(lambda: video_tasks.expire(task))
        if isinstance(error, RelayError):
            raise
        failure = error if isinstance(error, UpstreamFailure) else UpstreamFailure("timeout", timeout=True)
        raise verdict([failure]) from error
    if state.finished:
        item = await in_thread(lambda: video_tasks.charge(task, state))
        if not await done_within(runtime.writer.capture(item), COMMIT_SECONDS):
            raise RelayError("unavailable", "The video could not be recorded in time; try again.")
        return await in_thread(lambda: video_tasks.close(task, state))
    if late:
        return await in_thread(lambda: video_tasks.expire(task))
    await in_thread(lambda: video_tasks.advance(task, state))
    return task


def _place(runtime: Runtime, task: VideoTask) -> tuple[ChannelInfo, VideoApi]:
    """The channel that makes a video or has it. Raises `no_channel`."""
    channel = runtime.snapshot.routing.channels.get(task.channel_id)
    api = api_of(channel.provider) if channel is not None else None
    if channel is None or api is None or not channel.enabled:
        raise RelayError("no_channel", "The channel that has this video is not available now.")
    return channel, api


def _unknown(task_id: str) -> RelayError:
    return RelayError("not_found", f"No video {task_id[:80]!r} was found.")


def _not_there(task: VideoTask) -> RelayError:
    if task.status == VideoTask.Status.FAILED:
        return RelayError("invalid_request", "This video could not be made.")
    return RelayError("invalid_request", "This video is still being made; ask for it again once it is completed.")


async def _send(ctx: Context, status: int, value: object) -> None:
    headers = [(b"content-type", b"application/json")]
    await send_reply(ctx, Reply(status, headers, msgspec.json.encode(value)))
