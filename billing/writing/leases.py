"""Process leases: which web processes are alive, by the database's clock."""

from __future__ import annotations

import os
import socket
import uuid
from datetime import timedelta

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from billing.models import Hold, ProcessLease

RENEW_EVERY = 5.0
LASTS = timedelta(seconds=30)


def take(*, alias: str = DEFAULT_DB_ALIAS) -> str:
    """A new lease of this process; its id."""
    lease_id = uuid.uuid4().hex
    process = f"{socket.gethostname()} pid {os.getpid()}"[:200]
    ProcessLease.objects.using(alias).create(id=lease_id, process=process, expires_at=Now() + LASTS)
    return lease_id


def renew(lease_id: str, *, alias: str = DEFAULT_DB_ALIAS) -> bool:
    """Keep a lease for another 30 s. False where it had expired: the sweep may have taken its holds."""
    live = ProcessLease.objects.using(alias).filter(pk=lease_id, expires_at__gt=Now())
    return bool(live.update(expires_at=Now() + LASTS))


def give_back(lease_id: str, *, alias: str = DEFAULT_DB_ALIAS) -> None:
    """End a lease at once; any hold that is still open under it is swept next."""
    ProcessLease.objects.using(alias).filter(pk=lease_id).update(expires_at=Now())


def dead_lease_ids(*, alias: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Leases that have expired."""
    return list(ProcessLease.objects.using(alias).filter(expires_at__lte=Now()).values_list("pk", flat=True))


def forget_dead(*, alias: str = DEFAULT_DB_ALIAS) -> None:
    """Delete expired leases that no hold refers to any more."""
    with transaction.atomic(using=alias):
        holds = Hold.objects.using(alias).filter(lease_id=OuterRef("pk"))
        ProcessLease.objects.using(alias).filter(expires_at__lte=Now()).exclude(Exists(holds)).delete()
