"""Counting a request's tokens before it is sent: free, so nothing is held. An upstream counts best; else we do."""

from __future__ import annotations

from dataclasses import replace

from channels_app.snapshot import ChannelInfo
from relay.errors import RelayError
from relay.exchange import attempts, capture, pipeline, tokens
from relay.exchange.attempts import ClientFault, try_channels
from relay.exchange.context import Context
from relay.exchange.convert import Passing, is_native
from relay.exchange.quote import estimated_media_tokens
from relay.exchange.reply import Reply, send_reply
from relay.exchange.runtime import Runtime
from relay.protocols import DIALECTS
from relay.protocols.anthropic import count as anthropic_count
from relay.protocols.base import Request
from relay.protocols.gemini import count as gemini_count
from relay.routing import resolve as routing
from relay.tasks import in_heavy_thread
from relay.upstream.connections import MAX_ERROR_BYTES, UpstreamFailure

_ANSWERS = {"anthropic_count": anthropic_count.count_answer, "gemini_count": gemini_count.count_answer}
# An upstream that does not count in this time is not waited for.
COUNT_SECONDS = 20.0
_JSON = (b"content-type", b"application/json")


async def count_tokens(ctx: Context, runtime: Runtime, path: str) -> None:
    """`POST /v1/messages/count_tokens` and Gemini's `countTokens`."""
    pipeline.require_writer(runtime)
    request = await pipeline.read(ctx, path)
    await pipeline.admit(ctx, runtime)
    try:
        reply = await _count(ctx, runtime, request)
    finally:
        ctx.admission.release(0)
    capture.note(ctx, runtime.writer, http_status=reply.status)
    await send_reply(ctx, reply)


async def _count(ctx: Context, runtime: Runtime, request: Request) -> Reply:
    assert ctx.caller is not None
    route = routing.resolve(ctx.model, ctx.caller.key, runtime.snapshot.routing)
    able = tuple(channel for channel in route.channels if is_native(channel, request.dialect, ctx.model))
    own = Passing(DIALECTS[request.dialect], request)
    ctx.route, ctx.ways = replace(route, channels=able), {channel.id: own for channel in able}
    if able:
        try:
            return Reply(200, [_JSON], await try_channels(ctx, lambda channel: _ask(ctx, runtime, channel)))
        except ClientFault as fault:
            return Reply(fault.status, fault.headers, fault.body)
        except RelayError:
            ctx.channel = None
    counted = await in_heavy_thread(lambda: tokens.count(request.texts))
    counted += request.messages * tokens.PER_MESSAGE + tokens.PER_REQUEST
    counted += estimated_media_tokens(request.media, dict(route.model.allowances))
    return Reply(200, [_JSON], _ANSWERS[request.dialect](counted))


async def _ask(ctx: Context, runtime: Runtime, channel: ChannelInfo) -> bytes:
    """A channel's own count, as it answered. Raises UpstreamFailure, ClientFault."""
    seconds = min(channel.answer_timeout, COUNT_SECONDS)
    _, body = await attempts.ask(
        ctx, runtime.upstreams, channel, seconds=seconds, silence=COUNT_SECONDS, limit=MAX_ERROR_BYTES
    )
    if ctx.ways[channel.id].read_answer(body) is None:
        raise UpstreamFailure("not a count")
    return body
