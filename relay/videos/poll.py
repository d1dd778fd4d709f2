"""The worker's side of videos: it asks for those that have not ended, so that a client that never comes back pays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from django.utils import timezone

from billing.writing.connections import capture_now
from channels_app.snapshot import ChannelInfo, load_channels
from relay.models import VideoTask
from relay.protocols.videos.openai import State
from relay.routing import health
from relay.upstream.connections import UpstreamFailure, Upstreams
from relay.videos import tasks as video_tasks
from relay.videos.apis import api_of
from relay.videos.asks import ask

log = logging.getLogger(__name__)
# Asked for at a time, and how long that may take.
LIMIT = 50
SECONDS = 20.0


def poll(*, limit: int = LIMIT) -> int:
    """Ask for the videos that are due, and charge those that are completed. Returns how many have ended.

    Many workers may do so at a time; what one fails to do is due again.
    """
    tasks = video_tasks.claim(limit=limit)
    if not tasks:
        return 0
    channels = load_channels({task.channel_id for task in tasks})
    states = asyncio.run(_ask_all(tasks, channels))
    try:
        health.outcomes.flush()
    except Exception:
        log.exception("the health of channels cannot be recorded now")
    ended = 0
    for task, state in zip(tasks, states, strict=True):
        try:
            ended += _conclude(task, state)
        except Exception:
            log.exception("video %s could not be recorded; it is asked for again", task.pk)
    return ended


async def _ask_all(tasks: Sequence[VideoTask], channels: Mapping[int, ChannelInfo]) -> list[State | None]:
    upstreams = Upstreams()
    try:
        return await asyncio.gather(*(_ask(upstreams, channels.get(task.channel_id), task) for task in tasks))
    finally:
        await upstreams.close()


async def _ask(upstreams: Upstreams, channel: ChannelInfo | None, task: VideoTask) -> State | None:
    """How far a video is; None where nobody can tell now."""
    api = api_of(channel.provider) if channel is not None else None
    if channel is None or api is None or not channel.enabled:
        return None
    try:
        with health.watched(channel.id, task.model):
            async with asyncio.timeout(SECONDS):
                return await ask(upstreams, channel, task, api)
    except (UpstreamFailure, TimeoutError) as error:
        log.warning("video %s: %s", task.pk, error or "timeout")
        return None


def _conclude(task: VideoTask, state: State | None) -> bool:
    """Note what is known of a video, and charge it where it is completed. Whether it has ended."""
    if state is not None and state.finished:
        capture_now([video_tasks.charge(task, state)])
        video_tasks.close(task, state)
    elif task.deadline <= timezone.now():
        video_tasks.expire(task)
    else:
        if state is not None:
            video_tasks.advance(task, state)
        return False
    return True
