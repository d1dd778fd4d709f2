"""Celery tasks of the relay. Each finds its work in the database; messages are only wake-ups."""

from __future__ import annotations

from celery import shared_task

from relay.exchange import conversations
from relay.videos import poll as video_poll


@shared_task  # type: ignore[untyped-decorator]
def forget_turns() -> int:
    """Delete stored turns of Responses conversations that have expired."""
    return conversations.forget_expired()


@shared_task  # type: ignore[untyped-decorator]
def poll_videos() -> int:
    """Ask for the videos that have not ended, and charge those that are completed."""
    return video_poll.poll()
