"""Celery tasks of the channels app."""

from __future__ import annotations

from celery import shared_task

from channels_app import health


@shared_task
def prune_hours() -> int:
    """Forget how channels did more than 30 days ago."""
    return health.prune_hours()
