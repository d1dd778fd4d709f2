"""Reads of the accounts app."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.models import ApiKey, Membership, Organization, RateLimited
from accounts.permissions import allows


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests and tokens a minute, and requests at the same time. None: no limit of that kind."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What the relay needs to know of a key, its user and its organization.

    `limits` and `organization_limits` are None where no limit at all is set.
    """

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
    limits: RateLimits | None = None
    organization_limits: RateLimits | None = None


def key_by_digest(digest: str) -> KeyInfo | None:
    """The key with this keyed hash, or None. A secret from before a rotation expires with its overlap."""
    rows = ApiKey.objects.select_related("user", "organization").filter(deleted_at__isnull=True)
    row = rows.filter(Q(digest=digest) | Q(previous_digest=digest)).first()
    if row is None:
        return None
    ends = [row.expires_at, row.previous_expires_at if row.digest != digest else None]
    return KeyInfo(
        id=row.pk,
        name=row.name,
        user_id=row.user_id,
        organization_id=row.organization_id,
        enabled=row.enabled,
        expires_at=min((end for end in ends if end is not None), default=None),
        allowed_models=frozenset(row.allowed_models),
        allowed_ips=tuple(row.allowed_ips),
        group=row.group,
        user_active=row.user.is_active,
        organization_active=row.organization.status == Organization.Status.ACTIVE,
        limits=_rate_limits(row),
        organization_limits=_rate_limits(row.organization),
    )


def _rate_limits(row: RateLimited) -> RateLimits | None:
    limits = RateLimits(row.requests_per_minute, row.tokens_per_minute, row.concurrent_requests)
    return None if limits == RateLimits() else limits


def api_key(*, organization_id: int, api_key_id: int) -> ApiKey | None:
    """A key of an organization that is not deleted."""
    rows = ApiKey.objects.filter(organization_id=organization_id, deleted_at__isnull=True)
    return rows.filter(pk=api_key_id).first()


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose rows a member sees: the organization's, or only their own. Every read for the console and the API takes it.

    `user_id` None: all of the organization.
    """

    organization_id: int
    user_id: int | None


def reach_of(member: Membership, action: str) -> Reach:
    """What a member sees of what everyone has of their own, and some see of everybody. `action`: e.g. "logs.all"."""
    return Reach(member.organization_id, None if allows(member.role, action) else member.user_id)


def api_keys(reach: Reach, *, deleted: bool = False) -> QuerySet[ApiKey]:
    """The API keys within reach, the newest first, without those of the playground; `deleted`: with deleted ones."""
    rows = ApiKey.objects.filter(organization_id=reach.organization_id, purpose=ApiKey.Purpose.API)
    if reach.user_id is not None:
        rows = rows.filter(user_id=reach.user_id)
    return rows if deleted else rows.filter(deleted_at__isnull=True)
