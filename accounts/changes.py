"""The version of all configuration. Every write that the relay must notice calls `record_change` in its transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Min
from django.utils import timezone

from accounts.models import ConfigChange, ConfigVersion

log = logging.getLogger(__name__)
REDIS_CHANNEL = "costrouter:config"
KEEP = timedelta(days=1)


def record_change(kind: str, object_id: object) -> None:
    """Number a change of one object. Must run inside the transaction of the change itself.

    Updating the version row holds its lock until commit, so a reader never sees a number while a lower one is missing.
    """
    assert transaction.get_connection().in_atomic_block, "a change is numbered in the transaction that makes it"
    if not ConfigVersion.objects.filter(pk=1).update(number=F("number") + 1):
        ConfigVersion.objects.get_or_create(pk=1)
        ConfigVersion.objects.filter(pk=1).update(number=F("number") + 1)
    number = ConfigVersion.objects.values_list("number", flat=True).get(pk=1)
    ConfigChange.objects.create(number=number, kind=kind, object_id=str(object_id))
    transaction.on_commit(_push)


def current_version() -> int:
    """The number of the latest committed change; 0 before the first."""
    return ConfigVersion.objects.filter(pk=1).values_list("number", flat=True).first() or 0


def changes_since(number: int) -> Iterable[tuple[int, str, str]] | None:
    """(number, kind, object id) of every change after `number`, in order; None where some have been pruned."""
    oldest = ConfigChange.objects.aggregate(oldest=Min("number"))["oldest"]
    if oldest is None or oldest > number + 1:
        return None
    return list(
        ConfigChange.objects.filter(number__gt=number).order_by("number").values_list("number", "kind", "object_id")
    )


def prune_changes() -> int:
    """Forget changes older than a day (a process further behind reloads everything). Returns how many."""
    return ConfigChange.objects.filter(at__lt=timezone.now() - KEEP).delete()[0]


@cache
def redis_client() -> Any:
    """The shared Redis client, or None where there is no Redis."""
    if not settings.REDIS_URL:
        return None
    import redis

    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)


def _push() -> None:
    """Wake the web processes at once. They poll anyway, so a lost push costs nothing but time."""
    client = redis_client()
    if client is None:
        return
    try:
        client.publish(REDIS_CHANNEL, b"changed")
    except Exception as error:
        log.warning("configuration push over Redis failed: %s", type(error).__name__)
