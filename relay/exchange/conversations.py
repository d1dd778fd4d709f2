"""`POST /v1/responses`, whose conversations the relay keeps: a request may continue an answer that came before it."""

from __future__ import annotations

import logging
import zlib
from datetime import timedelta

import msgspec
from django.conf import settings
from django.utils import timezone

from costrouter.lib import crypto, ids
from relay.errors import RelayError
from relay.exchange import pipeline
from relay.exchange.context import Context
from relay.exchange.runtime import Runtime
from relay.models import StoredTurn
from relay.protocols.responses.request import response_id, with_history
from relay.protocols.responses.turns import output_of, pack, turn_items, unpack
from relay.tasks import in_thread

log = logging.getLogger(__name__)
_PARAM = "previous_response_id"
# Expired turns are deleted so many at a time: a short transaction each.
BATCH = 500


async def respond(ctx: Context, runtime: Runtime, path: str) -> None:
    """`POST /v1/responses` and `/v1/responses/compact`."""
    pipeline.require_writer(runtime)
    request = await pipeline.read(ctx, path)
    options = request.options
    options.seed = ctx.request_id.removeprefix("req_")
    if options.previous is not None:
        assert ctx.caller is not None
        organization_id = ctx.caller.key.organization_id
        try:
            ctx.first_channel, items = await in_thread(lambda: load(options.previous, organization_id))
        except crypto.CannotDecrypt as error:
            raise _unknown(options.previous) from error
        _note_size(ctx, items)
        ctx.request = await in_thread(lambda: with_history(request, items))
    if options.store and settings.RESPONSES_DAYS > 0:
        ctx.keep = lambda said: _keep(ctx, said)
    await pipeline.serve(ctx, runtime)


def _note_size(ctx: Context, items: list[msgspec.Raw]) -> None:
    """A request and the history before it are no larger than a request alone may be. Raises `body_too_large`."""
    ctx.size += sum(memoryview(item).nbytes for item in items)
    limit = settings.MAX_BODY_BYTES
    if ctx.size > limit:
        raise RelayError(
            "body_too_large",
            f"The conversation is larger than {limit} bytes; compact it, or begin a new one.",
            param=_PARAM,
        )


async def _keep(ctx: Context, said: bytes | list[msgspec.Raw]) -> None:
    """Store a turn before its answer's end is delivered: the next request may come at once. Never fails the answer."""
    try:
        await in_thread(lambda: save(ctx, said))
    except Exception:
        log.exception("the turn of request %s was not stored", ctx.request_id)


def save(ctx: Context, said: bytes | list[msgspec.Raw]) -> None:
    """Store the turn of a request: `said` are the answer's items, or the whole answer. Blocks."""
    assert ctx.caller is not None and ctx.channel is not None and ctx.request is not None
    if isinstance(said, bytes):
        said = output_of(said)
    packed = crypto.encrypt_bytes(settings.FIELD_ENCRYPTION_KEYS, zlib.compress(pack(turn_items(ctx.request, said)), 1))
    key, now = ctx.caller.key, timezone.now()
    StoredTurn.objects.create(
        id=response_id(ctx.request.options.seed),
        organization_id=key.organization_id,
        api_key_id=key.id,
        channel_id=ctx.channel.id,
        model=ctx.model,
        items_encrypted=packed,
        created_at=now,
        expires_at=now + timedelta(days=settings.RESPONSES_DAYS),
    )


def load(turn_id: str, organization_id: int) -> tuple[int, list[msgspec.Raw]]:
    """The channel and the items of an organization's turn. Raises RelayError with 404, CannotDecrypt. Blocks."""
    if not ids.may_be_id(turn_id):
        raise _unknown(turn_id)
    turn = StoredTurn.objects.filter(pk=turn_id, organization_id=organization_id, expires_at__gt=timezone.now()).first()
    if turn is None:
        raise _unknown(turn_id)
    packed = crypto.decrypt_bytes(settings.FIELD_ENCRYPTION_KEYS, bytes(turn.items_encrypted))
    return turn.channel_id, unpack(zlib.decompress(packed))


def forget_expired() -> int:
    """Delete expired turns. Returns how many."""
    total = 0
    while True:
        expired = StoredTurn.objects.filter(expires_at__lte=timezone.now()).values_list("pk", flat=True)[:BATCH]
        gone, _ = StoredTurn.objects.filter(pk__in=list(expired)).delete()
        total += gone
        if gone < BATCH:
            return total


def _unknown(turn_id: str) -> RelayError:
    return RelayError(
        "previous_response_not_found", f"Previous response with id {turn_id[:64]!r} not found.", param=_PARAM
    )
