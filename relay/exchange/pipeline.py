"""One request, step by step: authenticate → read → route and price → hold → forward → capture.

Each handler takes the context of a request and sends its answer; failures are RelayError, which `relay.asgi` answers.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from django.conf import settings

from billing.models import Price
from billing.writing.items import Granted, HoldItem, Refused
from billing.writing.writer import Writer, WriterUnavailable
from costrouter.lib.money import usd_text
from relay.entry import auth
from relay.entry.limits.admission import estimated_tokens
from relay.errors import ERRORS, RelayError
from relay.exchange import capture, tokens
from relay.exchange.context import Context
from relay.exchange.convert import ways
from relay.exchange.plain import PlainExchange
from relay.exchange.quote import Quote, counted_bound, quote, text_bound
from relay.exchange.reply import send_reply
from relay.exchange.runtime import Runtime
from relay.exchange.stream import StreamExchange
from relay.protocols import DIALECTS
from relay.protocols.base import Request
from relay.protocols.error_shapes import family
from relay.routing import resolve as routing
from relay.snapshot import utc_now
from relay.tasks import done_within, in_heavy_thread, off_loop, spawn
from relay.upstream.providers import PROVIDERS

# A hold that takes longer than this is worth watching whether the client still waits.
WATCH_SECONDS = 0.05
# Texts up to this size are counted before they are refused, if only to say what they would cost.
COUNT_ALWAYS = 64 * 1024
_DISCONNECT = "http.disconnect"


async def authenticate(ctx: Context, runtime: Runtime) -> None:
    """Who calls, and whether they may. Comes before the body is read."""
    key = auth.key_of(ctx.headers, ctx.query)
    ctx.caller = await auth.identify(key, runtime.keys)
    auth.authorize(ctx.caller, ctx.client_ip)


def _unpriced(name: str) -> RelayError:
    return RelayError("unpriced_model", f"The model {name} has no price here yet.", param="model")


async def forward(ctx: Context, runtime: Runtime, path: str) -> None:
    """Every endpoint whose JSON body goes to a channel."""
    require_writer(runtime)
    await read(ctx, path)
    await serve(ctx, runtime)


def require_writer(runtime: Runtime) -> None:
    """Raise `unavailable` while nothing can be recorded."""
    if not runtime.writer.healthy:
        raise RelayError("unavailable", "Requests cannot be recorded now; try again.", headers={"retry-after": "1"})


async def read(ctx: Context, path: str) -> Request:
    """The request's body, read in its dialect."""
    body = await read_body(ctx)
    parse = DIALECTS[ctx.endpoint.protocol].parse
    if query := auth.without_key(ctx.query):
        path = f"{path}?{query}"
    request = await off_loop(lambda: parse(body, path), size=len(body))
    ctx.size = len(body)
    ctx.request, ctx.model, ctx.streamed = request, request.model, request.stream
    return request


async def serve(ctx: Context, runtime: Runtime) -> None:
    """A request that was read: admitted, priced, held, forwarded and captured."""
    await admit(ctx, runtime)
    try:
        price(ctx, runtime)
        await find_ways(ctx)
        await hold(ctx, runtime)
    except BaseException:
        ctx.admission.release(0)
        raise
    await exchange(ctx, runtime)


async def admit(ctx: Context, runtime: Runtime) -> None:
    """Count the request against the limits of its key and organization. Raises `rate_limit_exceeded`.

    Whoever calls it sees to it that the admission is released: `capture.finish` does.
    """
    assert ctx.caller is not None and ctx.request is not None
    expected = estimated_tokens(text_bytes=ctx.request.text_bytes, messages=ctx.request.messages)
    ctx.admission = await runtime.limits.admit(ctx.caller.key, tokens=expected, family=family(ctx.endpoint.protocol))


async def find_ways(ctx: Context) -> None:
    """How each channel is asked. Raises RelayError where none can express the request."""
    assert ctx.request is not None and ctx.route is not None
    request, channels = ctx.request, ctx.route.channels
    ctx.ways = await off_loop(lambda: ways(request, channels, seed=ctx.request_id.removeprefix("req_")), size=ctx.size)
    if len(ctx.ways) < len(channels):
        ctx.route = replace(ctx.route, channels=tuple(channel for channel in channels if channel.id in ctx.ways))


async def read_body(ctx: Context) -> bytes:
    """The request's body, decompressed, within the limit. Raises `body_too_large`."""
    limit = settings.MAX_BODY_BYTES
    declared = ctx.headers.get(b"content-length", b"0")
    too_large = RelayError("body_too_large", f"The body is larger than {limit} bytes.")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    parts: list[bytes] = []
    size = 0
    while True:
        message = await ctx.receive()
        if message["type"] == _DISCONNECT:
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
        if not message.get("more_body", False):
            break
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    encoding = ctx.headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding in (b"identity", b""):
        return body
    if encoding not in (b"gzip", b"x-gzip"):
        raise RelayError("unsupported_encoding", "Content-Encoding must be gzip or identity.")
    inflater = zlib.decompressobj(wbits=31)
    try:
        body = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise RelayError("invalid_request", "The body is not valid gzip.") from error
    if len(body) > limit:
        raise too_large
    if not inflater.eof or inflater.unused_data:
        raise RelayError("invalid_request", "The body is not valid gzip.")
    return body


class ClientGone(Exception):
    """The client hung up before its request was complete, or before it was held: there is nobody to answer."""


def price(ctx: Context, runtime: Runtime) -> None:
    """Where the request may go and what it costs there. Raises RelayError: unknown, not allowed, unpriced."""
    assert ctx.caller is not None and ctx.request is not None
    snapshot, features = runtime.snapshot, ctx.request.features
    ctx.route = routing.resolve(ctx.model, ctx.caller.key, snapshot.routing)
    now = utc_now()
    standard = snapshot.price(ctx.model, Price.STANDARD, now)
    if standard is None:
        raise _unpriced(ctx.model)
    tiers = {f.tier: f for f in features if f.tier and (f.of is None or f.of in standard.units)}
    if len(tiers) > 1:
        raise RelayError("unpriced_feature", f"{' and '.join(f.field for f in tiers.values())} have no price together.")
    ctx.price = standard
    for tier, feature in tiers.items():
        ctx.price = snapshot.price(ctx.model, tier, now)
        if ctx.price is None:
            raise RelayError(
                "unpriced_feature", f"{feature.field} {tier} has no price here for {ctx.model}.", param=feature.field
            )
        if feature.of is None:
            _keep_channels_of_tier(ctx, tier)
    ctx.rates = snapshot.rates(ctx.price, ctx.route.group.rate)
    if ctx.endpoint.units and not ctx.rates.explicit.intersection(ctx.endpoint.units):
        units = " or ".join(ctx.endpoint.units)
        raise RelayError("unpriced_model", f"The model {ctx.model} has no price here for {units}.", param="model")
    for feature in features:
        if feature.tier is None and (feature.unit is None or feature.unit not in ctx.rates.explicit):
            raise RelayError(
                "unpriced_feature",
                f"{feature.field} changes what the request costs, and has no price here for {ctx.model}.",
                param=feature.field,
            )


def _keep_channels_of_tier(ctx: Context, tier: str) -> None:
    """A tier's price holds only where the upstream honours the tier: elsewhere it would answer at its full price."""
    assert ctx.route is not None
    channels = tuple(channel for channel in ctx.route.channels if tier in PROVIDERS[channel.provider].tiers)
    if not channels:
        raise RelayError(
            "unpriced_feature", f"No channel of {ctx.model} has the service_tier {tier}.", param="service_tier"
        )
    ctx.route = replace(ctx.route, channels=channels)


async def hold(ctx: Context, runtime: Runtime) -> None:
    """Hold what the request may cost. Raises RelayError: too little money, or no database."""
    request, route, rates = ctx.request, ctx.route, ctx.rates
    assert request is not None and route is not None and rates is not None
    quoted = quote(request, route.model, rates, text_tokens=text_bound(request))
    outcome = await _ask(ctx, runtime, quoted)
    if isinstance(outcome, Refused):
        # Bytes are a generous bound. Before refusing, count tokens; not of a long text that no count could help.
        if request.text_bytes > COUNT_ALWAYS:
            least = quote(request, route.model, rates, text_tokens=0).minimum
            if least > outcome.available:
                raise too_little(outcome, quoted)
        counted = await in_heavy_thread(lambda: tokens.count(request.texts))
        closer = quote(request, route.model, rates, text_tokens=min(text_bound(request), counted_bound(counted)))
        if closer.minimum < quoted.minimum:
            quoted = closer
            outcome = await _ask(ctx, runtime, quoted)
    if isinstance(outcome, Refused):
        raise too_little(outcome, quoted)
    assert isinstance(outcome, Granted)
    ctx.granted = outcome.amount
    ctx.input_bound = quoted.input_tokens
    if outcome.amount < quoted.want and request.cap is None:
        ctx.cap = quoted.output_cap(outcome.amount)


def hold_item(ctx: Context, writer: Writer, quoted: Quote) -> HoldItem:
    """What the writer is asked for a request."""
    caller, route = ctx.caller, ctx.route
    assert caller is not None and route is not None
    ctx.created_at = ctx.created_at or writer.now()
    return HoldItem(
        request_id=ctx.request_id,
        organization_id=caller.key.organization_id,
        minimum=quoted.minimum,
        want=quoted.want,
        lease_id="",
        api_key_id=caller.key.id,
        user_id=caller.key.user_id,
        model=ctx.model,
        group=route.group.name,
        endpoint=ctx.endpoint.name,
        created_at=ctx.created_at,
        budget_ids=caller.budgets,
        seconds=ctx.endpoint.holds_for,
    )


async def _ask(ctx: Context, runtime: Runtime, quoted: Quote) -> Granted | Refused | None:
    future = runtime.writer.hold(hold_item(ctx, runtime.writer, quoted))
    try:
        return await _decided(ctx, future)
    except (ClientGone, asyncio.CancelledError):
        # The client went away, or the server gave the request up, while the writer was deciding: what it grants is
        # given back.
        future.add_done_callback(lambda _: _release(ctx, runtime, "client_gone"))
        ctx.finished = True
        raise
    except WriterUnavailable:
        # It may have been committed all the same; the record releases whatever was.
        _release(ctx, runtime, "unavailable")
        raise RelayError(
            "unavailable", "Requests cannot be recorded now; try again.", headers={"retry-after": "1"}
        ) from None


async def _decided(ctx: Context, future: asyncio.Future[Granted | Refused | None]) -> Granted | Refused | None:
    """What the writer says to a hold. Raises ClientGone where it takes long and the client does not wait for it."""
    if not await done_within(future, WATCH_SECONDS):
        watch = spawn(disconnected(ctx.receive), name=f"watch {ctx.request_id}")
        try:
            await asyncio.wait((future, watch), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
        if watch.done():
            raise ClientGone
    return future.result()


def _release(ctx: Context, runtime: Runtime, code: str) -> None:
    ctx.granted = None
    capture.finish(ctx, runtime.writer, status=capture.CANCELLED, http_status=ERRORS[code].status, error_code=code)


def too_little(refused: Refused, quoted: Quote) -> RelayError:
    """The refusal of a hold, which says what is needed, and what is there."""
    affords = quoted.output_cap(refused.available)
    advice = "Top up, or ask for less."
    if affords is not None:
        advice = f"which affords {affords:,} output tokens. Top up, shorten the input, or ask for fewer output tokens."
    code, where = "insufficient_balance", "this organization's balance"
    if refused.budget_id is not None:
        code, where = "budget_exceeded", "the budget of this API key, member or organization"
    return RelayError(
        code,
        f"This request needs {usd_text(quoted.minimum)}, but {where} has only {usd_text(refused.available)} available"
        f"{', ' if affords is not None else '. '}{advice}",
    )


async def exchange(ctx: Context, runtime: Runtime) -> None:
    """A request that was held for: forwarded, captured and answered."""
    await (_stream if ctx.streamed else _plain)(ctx, runtime)


async def _plain(ctx: Context, runtime: Runtime) -> None:
    exchange = PlainExchange(ctx, runtime)
    await done_within(exchange.task)
    await send_reply(ctx, exchange.task.result())


async def _stream(ctx: Context, runtime: Runtime) -> None:
    exchange = StreamExchange(ctx, runtime)
    watch = spawn(disconnected(ctx.receive), name=f"watch {ctx.request_id}")
    watch.add_done_callback(lambda ended: None if ended.cancelled() else exchange.client_gone())
    try:
        await done_within(exchange.task)
        reply = exchange.task.result()
    except asyncio.CancelledError:
        exchange.client_gone()
        raise
    finally:
        watch.cancel()
    if reply is not None:
        await send_reply(ctx, reply)


async def disconnected(receive: Callable[[], Awaitable[dict[str, object]]]) -> None:
    """Wait until the client has hung up."""
    while (await receive())["type"] != _DISCONNECT:
        pass
