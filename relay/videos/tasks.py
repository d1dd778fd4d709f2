"""Videos in the database: stored when an upstream accepts one, charged once when it is seen completed.

Its database work blocks. Whoever sees a video end (a client's request, or the worker) first commits its capture,
which inserts its record and moves its money only once however many do it; then closes its row as the record has it.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import msgspec
from django.db import transaction
from django.utils import timezone

from billing.models import Hold, Price, UsageRecord
from billing.pricing.rates import compile_rates
from billing.selectors import price_info
from billing.writing.items import CaptureItem
from billing.writing.statements import Record
from costrouter.lib import ids
from costrouter.lib.units import UNITS
from relay.exchange import capture
from relay.models import VideoTask
from relay.protocols.videos.openai import State

# No upstream takes longer; what a video holds is then given back.
DEADLINE = timedelta(hours=6)
# The worker asks after a tenth of a video's age, within these bounds.
POLL_FIRST, POLL_LAST = timedelta(seconds=10), timedelta(minutes=5)
Status = VideoTask.Status


class HoldGone(Exception):
    """What was held for a video was given back before the upstream had accepted it."""


def new_id() -> str:
    """`video_` and 32 hexadecimal digits."""
    return f"video_{secrets.token_hex(16)}"


def store(task: VideoTask) -> None:
    """Store a video that an upstream has accepted; its hold stands until its deadline. Raises HoldGone."""
    with transaction.atomic():
        held = Hold.objects.filter(pk=task.request_id, captured=False)
        if not held.update(deadline=task.deadline):
            raise HoldGone
        task.save(force_insert=True)


def find(task_id: str, *, organization_id: int) -> VideoTask | None:
    """An organization's video, unless it was deleted."""
    if not ids.may_be_id(task_id):
        return None
    return VideoTask.objects.filter(pk=task_id, organization_id=organization_id, deleted_at=None).first()


def page(
    *, organization_id: int, after: str | None, limit: int, ascending: bool
) -> tuple[list[VideoTask], bool] | None:
    """An organization's videos by age, and whether there are more. None where it has no video `after`."""
    rows = VideoTask.objects.filter(organization_id=organization_id)
    order = "request_id" if ascending else "-request_id"  # which sorts by time
    if after is not None:
        named = rows.filter(pk=after).values_list("request_id", flat=True)
        last = named.first() if ids.may_be_id(after) else None
        if last is None:
            return None
        rows = rows.filter(**{"request_id__gt" if ascending else "request_id__lt": last})
    found = list(rows.filter(deleted_at=None).order_by(order)[: limit + 1])
    return found[:limit], len(found) > limit


def view(task: VideoTask) -> dict[str, object]:
    """A video as its client sees it."""
    failed = task.status == VideoTask.Status.FAILED
    return {
        "id": task.pk,
        "object": "video",
        "created_at": int(task.created_at.timestamp()),
        "status": task.status,
        "model": task.model,
        "progress": task.progress,
        "prompt": task.prompt,
        "seconds": str(task.seconds),
        "size": task.size,
        "completed_at": int(task.completed_at.timestamp()) if task.completed_at and not failed else None,
        "expires_at": int(task.expires_at.timestamp()) if task.expires_at else None,
        "remixed_from_video_id": task.remixed_from or None,
        "error": {"code": task.error_code, "message": task.error_message} if failed else None,
    }


def charge(task: VideoTask, state: State) -> CaptureItem:
    """The capture of a video that has ended: its seconds at the price and rate of its hold, or nothing if it failed."""
    record = msgspec.json.decode(task.record, type=Record)
    record.duration_ms = min((1 << 31) - 1, int((timezone.now() - task.created_at).total_seconds() * 1000))
    if state.status == Status.COMPLETED:
        price = price_info(Price.objects.get(pk=task.price_id))
        rates = compile_rates(price, task.rate)
        units = units_of(rates.explicit, seconds=state.seconds or task.seconds)
        record.units = msgspec.Raw(msgspec.json.encode(units))
        record.lines = msgspec.Raw(rates.lines_json(units).encode())
        record.cost_nanos = rates.cost_nanos(units)
        record.upstream_cost_nanos = compile_rates(price, task.cost_multiplier).cost_nanos(units)
        record.overrun_nanos = max(0, record.cost_nanos - record.held_nanos)
    else:
        record.status, record.error_code = capture.UPSTREAM_ERROR, "video_failed"
    # What is held is asked of the database: it may have been swept.
    return CaptureItem(record, None, tuple(task.budget_ids))


def units_of(explicit: frozenset[str], *, seconds: int) -> dict[str, int]:
    """What a video is charged by, of the units that its price names."""
    units = {"seconds": seconds, "calls": 1}
    return {name: units[name] for name in UNITS if name in units and name in explicit}


def close(task: VideoTask, state: State) -> VideoTask:
    """Close the row of a video whose capture has committed, as its record says. Returns the row as it is now."""
    charged = UsageRecord.objects.filter(pk=task.request_id, status=UsageRecord.Status.OK).exists()
    ended: dict[str, object] = {"status": Status.FAILED, "completed_at": timezone.now(), "poll_at": None}
    if charged:
        ended |= {"status": Status.COMPLETED, "progress": 100, "asset": state.asset, "expires_at": _moment(state)}
        ended |= {"seconds": state.seconds or task.seconds, "size": state.size or task.size}
    else:
        code, message = state.error
        ended |= {"error_code": code or "video_failed", "error_message": message or "The video could not be made."}
    VideoTask.objects.filter(pk=task.pk, status__in=VideoTask.OPEN).update(**ended)
    task.refresh_from_db()
    return task


def advance(task: VideoTask, state: State) -> None:
    """Note how far a video is."""
    if (task.status, task.progress) != (state.status, state.progress):
        task.status, task.progress = state.status, state.progress
        rows = VideoTask.objects.filter(pk=task.pk, status__in=VideoTask.OPEN)
        rows.update(status=state.status, progress=state.progress)


def expire(task: VideoTask) -> VideoTask:
    """A video that has not ended by its deadline has failed. The sweep gives back what it held."""
    late = State(task.upstream_id, Status.FAILED, error=("timeout", "The video was not made in time."))
    return close(task, late)


def claim(*, limit: int) -> list[VideoTask]:
    """Videos to ask for now, the longest overdue first; no other worker asks for them until they are due again."""
    now = timezone.now()
    due = VideoTask.objects.filter(status__in=VideoTask.OPEN, poll_at__lte=now).order_by("poll_at")
    return [task for task in due[:limit] if _is_ours(task, now)]


def _is_ours(task: VideoTask, now: datetime) -> bool:
    later = now + min(max((now - task.created_at) / 10, POLL_FIRST), POLL_LAST)
    return bool(VideoTask.objects.filter(pk=task.pk, poll_at=task.poll_at).update(poll_at=later))


def delete(task: VideoTask) -> None:
    """Forget a video, but for its row."""
    VideoTask.objects.filter(pk=task.pk).update(deleted_at=timezone.now(), prompt="")


def _moment(state: State) -> datetime | None:
    return datetime.fromtimestamp(state.expires_at, UTC) if state.expires_at is not None else None
