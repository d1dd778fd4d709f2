"""What a channel is asked about a video that it makes."""

from __future__ import annotations

from channels_app.snapshot import ChannelInfo
from relay.models import VideoTask
from relay.protocols.videos.openai import State, VideoApi
from relay.upstream.connections import UpstreamFailure, Upstreams, close, read_body
from relay.upstream.providers.base import Call
from relay.videos.apis import api_of

# A video's state, or where it is, is a small object.
MAX_BYTES = 1024 * 1024


def call_of(channel: ChannelInfo, task: VideoTask, action: str) -> Call:
    """A request about a video."""
    api = api_of(channel.provider)
    assert api is not None
    model = channel.models.get(task.model, task.model)
    return Call(channel.base_url, api.name, model, action=action, credentials=channel.credentials)


async def ask(upstreams: Upstreams, channel: ChannelInfo, task: VideoTask, api: VideoApi) -> State:
    """How far a video is. Raises UpstreamFailure."""
    body = await _get(upstreams, channel, task, api.status(task.upstream_id))
    state = api.read(body)
    if state is None or state.upstream_id != task.upstream_id:
        raise UpstreamFailure("not a video")
    return state


async def ask_link(upstreams: Upstreams, channel: ChannelInfo, task: VideoTask, api: VideoApi, action: str) -> str:
    """Where a video can be downloaded from. Raises UpstreamFailure."""
    assert api.link is not None
    url = api.link(await _get(upstreams, channel, task, action))
    if url is None:
        raise UpstreamFailure("no link")
    return url


async def _get(upstreams: Upstreams, channel: ChannelInfo, task: VideoTask, action: str) -> bytes:
    response = await upstreams.send(
        channel, call_of(channel, task, action), body=b"", headers=[], silence=channel.answer_timeout, method="GET"
    )
    whole = False
    try:
        body = await read_body(response, MAX_BYTES)
        whole = True
    finally:
        close(response, whole=whole)
    if not 200 <= response.status < 300:
        raise UpstreamFailure(f"status {response.status}", status=response.status)
    return body
