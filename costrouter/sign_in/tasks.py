"""Celery tasks of sign-in."""

from __future__ import annotations

from allauth.usersessions.models import UserSession
from celery import shared_task
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef
from django.utils import timezone


@shared_task  # type: ignore[untyped-decorator]
def forget_sessions() -> int:
    """Delete sessions that have run out, and what the lists of sessions say of them. Returns how many there were."""
    deleted, _ = Session.objects.filter(expire_date__lt=timezone.now()).delete()
    UserSession.objects.filter(~Exists(Session.objects.filter(pk=OuterRef("session_key")))).delete()
    return deleted
