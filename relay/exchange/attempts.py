"""Trying channels: one after another, each at most once, until one answers or it is the client's own fault."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import msgspec

from channels_app.health import Verdict
from channels_app.snapshot import ChannelInfo
from relay.entry.multipart import Upload
from relay.errors import RelayError
from relay.exchange.context import Context
from relay.protocols.base import Target
from relay.protocols.error_shapes import error_body, reworded
from relay.protocols.fields import top_level
from relay.routing import health
from relay.routing.order import order
from relay.tasks import off_loop
from relay.upstream.connections import (
    MAX_ERROR_BYTES,
    UpstreamFailure,
    Upstreams,
    close,
    failure_of,
    forwarded_headers,
    read_body,
    returned_headers,
)
from relay.upstream.providers import PROVIDERS, Fault
from relay.upstream.providers.base import Call
from relay.upstream.secrets import echoes

T = TypeVar("T")
_VERSION = re.compile(rb"\d{4}-\d\d-\d\d")
_ERROR_BODY_SECONDS = 10.0
# For a dialect that must say how long an answer may be, where the catalogue does not know.
DEFAULT_CAP = 8_192


class ClientFault(Exception):
    """An upstream's error that is the client's own: it passes through, and nothing is retried.

    Byte for byte where the upstream was asked in the client's dialect, else in an envelope of that dialect.
    """

    def __init__(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


async def try_channels(ctx: Context, attempt: Callable[[ChannelInfo], Awaitable[T]], *, whole: bool = True) -> T:
    """The first channel's answer. Raises ClientFault, or RelayError when every channel has failed.

    `whole`: it is over once it is here. Else whoever reads it on tells `health.concluded` how it ended.
    """
    assert ctx.route is not None
    failures: list[UpstreamFailure] = []
    for channel in order(ctx.route.channels, first=ctx.first_channel):
        ctx.channel = channel
        note: dict[str, Any] = {"channel": channel.id, "name": channel.name, "outcome": "", "ms": 0}
        ctx.attempts.append(note)
        started = time.monotonic()
        judged: Verdict | None = None
        try:
            result = await attempt(channel)
        except UpstreamFailure as failure:
            note["outcome"], judged = failure.outcome, Verdict.FAILED
            failures.append(failure)
        except ClientFault as fault:
            note["outcome"], judged = f"status {fault.status}", Verdict.REFUSED
            raise
        except asyncio.CancelledError:
            note["outcome"] = "cut"
            raise
        else:
            note["outcome"], judged = "ok", Verdict.OK if whole else None
            return result
        finally:
            note["ms"] = took = int((time.monotonic() - started) * 1000)
            if judged is not None:
                health.outcomes.add(channel.id, ctx.model, judged, note["outcome"], took)
    raise verdict(failures)


async def send(
    ctx: Context, upstreams: Upstreams, channel: ChannelInfo, *, silence: float | None
) -> aiohttp.ClientResponse:
    """Send the request to a channel; its answer's head, of status 2xx. Raises UpstreamFailure or ClientFault."""
    request, route = ctx.request, ctx.route
    assert request is not None and route is not None
    provider, way, model = PROVIDERS[channel.provider], ctx.ways[channel.id], channel.models[ctx.model]
    target = Target(
        model=model,
        cap=ctx.cap,
        cap_field=provider.cap_field(channel.base_url),
        stores=provider.keeps(way.spoken),
        default_cap=min(route.model.max_output or DEFAULT_CAP, route.model.context_window or DEFAULT_CAP),
    )
    call = Call(
        base_url=channel.base_url,
        dialect=way.spoken,
        model=model,
        stream=request.stream,
        action="" if way.converts else getattr(request.options, "action", ""),
        credentials=channel.credentials,
        version=_version(ctx.headers.get(b"anthropic-version", b"")) if provider.shape is not None else "",
    )

    def written() -> bytes | Upload:
        body = way.body(target)
        if provider.shape is not None and isinstance(body, bytes):
            body = msgspec.json.encode(provider.shape(call, top_level.decode(body)))
        return body

    try:
        body = await off_loop(written, size=ctx.size)
    except RelayError as error:
        # What this channel's provider alone cannot say.
        raise ClientFault(
            error.status, error_body(error, ctx.endpoint.protocol), [(b"content-type", b"application/json")]
        ) from error
    own_dialect = "" if way.converts else request.dialect
    response = await upstreams.send(
        channel, call, body=body, headers=forwarded_headers(ctx.headers, own_dialect), silence=silence
    )
    if 200 <= response.status < 300:
        return response
    await _raise_error(ctx, response, provider.fault, channel)
    raise AssertionError


def _version(sent: bytes) -> str:
    """A client's `anthropic-version`; "" for what is none. URLs and headers are kept for each, so no free text."""
    return sent.decode() if _VERSION.fullmatch(sent) else ""


async def ask(
    ctx: Context, upstreams: Upstreams, channel: ChannelInfo, *, seconds: float, silence: float, limit: int
) -> tuple[aiohttp.ClientResponse, bytes]:
    """Send the request to a channel, and read its whole answer, of status 2xx, within `seconds` and `limit` bytes.

    Raises UpstreamFailure or ClientFault.
    """
    response, whole = None, False
    try:
        async with asyncio.timeout(seconds):
            response = await send(ctx, upstreams, channel, silence=silence)
            body = await read_body(response, limit)
        whole = True
    except TimeoutError as error:
        raise as_failure(error) from error
    finally:
        if response is not None:
            close(response, whole=whole)
    return response, body


async def _raise_error(
    ctx: Context, response: aiohttp.ClientResponse, fault: Callable[[int, bytes], Fault], channel: ChannelInfo
) -> None:
    status, way = response.status, ctx.ways[channel.id]
    whole = False
    try:
        async with asyncio.timeout(_ERROR_BODY_SECONDS):
            body = await read_body(response, MAX_ERROR_BYTES)
        whole = True
    except (UpstreamFailure, TimeoutError):
        body = b""
    finally:
        close(response, whole=whole)
    # Whatever it says, an answer that echoes the credentials never passes through.
    if whole and fault(status, body) is Fault.CLIENT and not echoes(channel.credentials, body):
        kind = response.headers.get("content-type", "")
        if not _is_object(body):
            body, kind = error_body(_wordless(status), ctx.endpoint.protocol), ""
        elif way.converts:
            body, kind = reworded(body, status, way.spoken, ctx.endpoint.protocol), ""
        content_type = kind.encode("ascii", "ignore") if "json" in kind.lower() else b"application/json"
        raise ClientFault(status, body, [(b"content-type", content_type), *returned_headers(response)])
    raise UpstreamFailure(f"status {status}", status=status)


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _wordless(status: int) -> RelayError:
    """An error of our own, where the upstream (or a proxy before it) answered with a page or a text."""
    return RelayError("refused_by_upstream", f"The upstream refused this request with status {status}.")


def verdict(failures: list[UpstreamFailure]) -> RelayError:
    """What the client is told when every channel has failed: nothing of the upstreams' own words."""
    if failures and all(failure.status == 429 for failure in failures):
        return RelayError(
            "upstream_rate_limited", "The upstream is rate limited now; try again later.", headers={"retry-after": "5"}
        )
    last = failures[-1] if failures else UpstreamFailure("nothing tried")
    if last.timeout:
        return RelayError("upstream_timeout", "The upstream did not answer in time.")
    if last.status in (503, 529):
        return RelayError("no_channel", "The upstream is overloaded now; try again later.")
    return RelayError("upstream_error", "The upstream failed to answer this request.")


def as_failure(error: BaseException) -> UpstreamFailure:
    """An exception of reading an answer, as a failure of its channel."""
    if isinstance(error, TimeoutError):
        return UpstreamFailure("timeout", timeout=True)
    return failure_of(error)
