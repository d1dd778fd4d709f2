"""The end of a request: what it cost, its one record, and the hand-over to the writer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict

import msgspec

from billing.writing.items import CaptureItem
from billing.writing.statements import Record
from billing.writing.writer import Writer
from costrouter.lib.units import UNITS
from relay.errors import RelayError
from relay.exchange import tokens
from relay.exchange.context import Context
from relay.exchange.quote import estimated_media_tokens
from relay.protocols.fields import utf8_length
from relay.snapshot import Snapshot
from relay.tasks import in_heavy_thread

log = logging.getLogger(__name__)
_encode = msgspec.json.encode
OK, CANCELLED, UPSTREAM_ERROR, REFUSED = "ok", "cancelled", "upstream_error", "refused"
# How long an answer's last word waits for its charge to be committed.
COMMIT_SECONDS = 10.0
# Refusals of a key that are recorded one by one; beyond, they are counted by the minute.
RECORDED_A_SECOND = 10
_MAX_BUCKETS = 10_000


def with_pieces(ctx: Context, units: dict[str, int]) -> dict[str, int]:
    """Units of an answer, and what is charged by the piece where the answer did not count it; in the table's order."""
    request = ctx.request
    assert request is not None
    if not request.pieces and all(units.values()):
        return units
    units = {**request.pieces, **units}
    return {name: units[name] for name in UNITS if units.get(name)}


def cost_of(ctx: Context, units: dict[str, int]) -> int:
    """What these units cost the caller, in nanos."""
    assert ctx.rates is not None
    return ctx.rates.cost_nanos(units)


def charged(ctx: Context, units: dict[str, int], *, estimated: bool) -> int:
    """What the caller is charged for these units, in nanos: an estimate never exceeds the hold."""
    cost = cost_of(ctx, units)
    return min(cost, ctx.granted) if estimated and ctx.granted is not None else cost


def upstream_nanos(ctx: Context, snapshot: Snapshot, units: dict[str, int]) -> int:
    """What these units cost the operator at the channel that served them, in nanos."""
    assert ctx.price is not None and ctx.channel is not None
    return snapshot.rates(ctx.price, ctx.channel.cost_multiplier).cost_nanos(units)


def finish(
    ctx: Context,
    writer: Writer,
    *,
    status: str,
    http_status: int,
    units: dict[str, int] | None = None,
    upstream_nanos: int = 0,
    estimated: bool = False,
    error_code: str = "",
    charge: bool = True,
) -> asyncio.Future[object]:
    """Capture a request that reached its hold: one record, the hold shrunk to its cost. Done once committed.

    `charge` False: the units are noted at no cost, for an upstream that failed.
    """
    units = units or {}
    cost = charged(ctx, units, estimated=estimated) if units and charge else 0
    granted = ctx.granted
    record = record_of(ctx, writer, status=status, http_status=http_status, error_code=error_code)
    record.units = msgspec.Raw(_encode(units))
    record.cost_nanos = cost
    record.upstream_cost_nanos = upstream_nanos
    record.estimated = estimated
    record.held_nanos = granted or 0
    record.overrun_nanos = max(0, cost - (granted or 0))
    if ctx.rates is not None:
        record.price_id = ctx.rates.price_id
        record.rate = str(ctx.rates.rate)
        if units and charge:
            record.lines = msgspec.Raw(ctx.rates.lines_json(units).encode())
    assert ctx.caller is not None
    ctx.finished = True
    ctx.admission.release(used_tokens(units))
    item = CaptureItem(record=record, granted=granted, budget_ids=ctx.caller.budgets)
    return writer.capture(item)  # type: ignore[return-value]


def note(ctx: Context, writer: Writer, *, http_status: int) -> None:
    """The one record of a request that held nothing and costs nothing, written without making the client wait."""
    ctx.finished = True
    status = OK if http_status < 400 else REFUSED
    code = "" if status == OK else "refused_by_upstream"
    writer.record(record_of(ctx, writer, status=status, http_status=http_status, error_code=code))


def used_tokens(units: dict[str, int]) -> int:
    """The tokens among units, input and output; reasoning is a part of the output."""
    return sum(n for name, n in units.items() if name != "reasoning" and UNITS[name].per == UNITS["input"].per)


def record_of(ctx: Context, writer: Writer, *, status: str, http_status: int, error_code: str = "") -> Record:
    """The record of a request, but for what it used and cost."""
    assert ctx.caller is not None
    key = ctx.caller.key
    channel = ctx.channel
    return Record(
        request_id=ctx.request_id,
        created_at=ctx.created_at or writer.now(),
        organization_id=key.organization_id,
        user_id=key.user_id,
        api_key_id=key.id,
        endpoint=ctx.endpoint.name,
        status=status,
        model=_printable(ctx.model[:150]),
        group=key.group,
        channel_id=channel.id if channel is not None else None,
        channel=channel.name if channel is not None else "",
        attempts=msgspec.Raw(_encode(ctx.attempts)),
        http_status=http_status,
        error_code=error_code,
        streamed=ctx.streamed,
        first_byte_ms=ctx.elapsed_ms(ctx.first_byte) if ctx.first_byte is not None else None,
        duration_ms=ctx.elapsed_ms(),
        client_ip=ctx.client_ip[:45],
        client_request_id=_printable(ctx.headers.get(b"x-request-id", b"")[:128].decode("latin-1")),
    )


def _printable(text: str) -> str:
    """A client's text as every database can keep it: PostgreSQL has no NUL, UTF-8 no lone surrogate."""
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())


def ensure(ctx: Context, writer: Writer) -> None:
    """Whatever went wrong, a request that was granted a hold leaves a record, and the hold goes back."""
    if not ctx.finished:
        finish(ctx, writer, status=CANCELLED, http_status=500, error_code="internal_error")


class Refusals:
    """Records refusals without making the client wait; past ten a second of a key, they are merely counted."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._buckets: OrderedDict[int, tuple[int, int]] = OrderedDict()

    def add(self, ctx: Context, error: RelayError) -> None:
        """Record or count the refusal of an authenticated request, or that its client went away before it was held."""
        if ctx.caller is None or ctx.endpoint.meter is None:
            return
        ctx.finished = True
        status = CANCELLED if error.code == "client_gone" else REFUSED
        key = ctx.caller.key
        # While the database is away records would pile up in memory.
        if self._over(key.id) or not self._writer.healthy:
            self._writer.tally(api_key_id=key.id, organization_id=key.organization_id, error_code=error.code)
            return
        self._writer.record(
            record_of(ctx, self._writer, status=status, http_status=error.status, error_code=error.code)
        )

    def _over(self, key_id: int) -> bool:
        second = int(time.monotonic())
        at, count = self._buckets.pop(key_id, (second, 0))
        count = count + 1 if at == second else 1
        self._buckets[key_id] = (second, count)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return count > RECORDED_A_SECOND


async def estimate(ctx: Context, delivered: list[str]) -> dict[str, int]:
    """Units counted by ourselves, for an upstream that did not tell: of the prompt, and of what was delivered."""
    request, route = ctx.request, ctx.route
    assert request is not None and route is not None
    try:
        prompt, made = await in_heavy_thread(lambda: _count_both(request.texts, delivered))
    except Exception:
        # A tokenizer that fails must not lose the charge: four bytes a token is what English text comes to.
        log.exception("request %s could not be counted", ctx.request_id)
        prompt, made = request.text_bytes // 4, sum(map(utf8_length, delivered)) // 4
    prompt += request.messages * tokens.PER_MESSAGE + tokens.PER_REQUEST
    prompt += estimated_media_tokens(request.media, dict(route.model.allowances))
    # Never more than was held for: the input's bound is above any honest count of it.
    units = {"input": min(prompt, ctx.input_bound), "output": made}
    return {name: units[name] for name in UNITS if units.get(name)}


def _count_both(prompt: list[str], delivered: list[str]) -> tuple[int, int]:
    return tokens.count(prompt), tokens.count(["".join(delivered)])
