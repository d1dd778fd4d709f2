"""Reads of the accounts app."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from accounts.models import ApiKey, Organization


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What the relay needs to know of a key, its user and its organization."""

    id: int
    name: str
    user_id: int
    organization_id: int
    enabled: bool
    expires_at: datetime | None
    allowed_models: frozenset[str]
    allowed_ips: tuple[str, ...]
    group: str
    user_active: bool
    organization_active: bool


def key_by_digest(digest: str) -> KeyInfo | None:
    """The key with this keyed hash, or None."""
    row = ApiKey.objects.select_related("user", "organization").filter(digest=digest).first()
    if row is None:
        return None
    return KeyInfo(
        id=row.pk,
        name=row.name,
        user_id=row.user_id,
        organization_id=row.organization_id,
        enabled=row.enabled,
        expires_at=row.expires_at,
        allowed_models=frozenset(row.allowed_models),
        allowed_ips=tuple(row.allowed_ips),
        group=row.group,
        user_active=row.user.is_active,
        organization_active=row.organization.status == Organization.Status.ACTIVE,
    )
