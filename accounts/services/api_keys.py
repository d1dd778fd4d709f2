"""API keys: made, changed, rotated, switched off, deleted. A secret leaves here once and is stored nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.changes import record_change
from accounts.models import ApiKey, ConfigChange, Membership, Organization, User
from costrouter.lib import crypto, ids, netguard

Kind = ConfigChange.Kind
PREFIX_LENGTH = 11
MAX_OVERLAP = timedelta(days=7)


@transaction.atomic
def create_api_key(
    *,
    organization: Organization,
    user: User,
    name: str,
    expires_at: datetime | None = None,
    allowed_models: Sequence[str] = (),
    allowed_ips: Sequence[str] = (),
    group: str = "default",
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    concurrent_requests: int | None = None,
    purpose: str = ApiKey.Purpose.API,
) -> tuple[ApiKey, str]:
    """A new key and its secret, which exists nowhere else from now on. Raises ValidationError."""
    secret = ids.api_key()
    key = ApiKey(
        organization=organization,
        user=user,
        name=name,
        prefix=secret[:PREFIX_LENGTH],
        digest=_digest(secret),
        expires_at=expires_at,
        allowed_models=list(allowed_models),
        allowed_ips=list(allowed_ips),
        group=group,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent_requests=concurrent_requests,
        purpose=purpose,
    )
    save_api_key(key=key)
    return key, secret


@transaction.atomic
def save_api_key(*, key: ApiKey) -> ApiKey:
    """Save a new or edited key; every web process drops its copy within a second. Raises ValidationError."""
    if problem := netguard.networks_problem(key.allowed_ips):
        raise ValidationError({"allowed_ips": problem})
    if not all(isinstance(name, str) for name in key.allowed_models):
        raise ValidationError({"allowed_models": "a list of model names"})
    is_new = key.pk is None
    membership = Membership.objects.filter(organization_id=key.organization_id, user_id=key.user_id)
    # Locked for a new key: whoever removes the member meanwhile must find it, to disable it.
    if (membership.select_for_update().first() if is_new else membership.first()) is None:
        raise ValidationError({"user": "this user is not a member of the organization"})
    if not is_new:
        _lock(key)
    key.full_clean()
    if is_new:
        changes = audit.given_fields(key, "prefix", "group", "expires_at", "allowed_models", "allowed_ips")
        key.save()
    else:
        changes = audit.changed_fields(key)
        # Never write back secrets that have been rotated since this row was loaded.
        key.save(update_fields=_EDITED)
    _record_saved(key, is_new=is_new, changes=changes)
    record_change(Kind.API_KEY, key.pk)
    return key


@transaction.atomic
def rotate_api_key(*, key: ApiKey, overlap: timedelta) -> str:
    """A new secret for the same key, which is returned. The old one works for `overlap` longer, at most seven days.

    A secret from a rotation before, if it still works, ends at once: two work at most. Raises ValidationError.
    """
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise ValidationError({"overlap": _("The old secret may go on working for at most 7 days.")})
    locked = _lock(key)
    secret, before = ids.api_key(), locked.prefix
    until = timezone.now() + overlap if overlap else None
    key.previous_digest = locked.digest if overlap else None
    key.previous_expires_at = until
    key.digest, key.prefix = _digest(secret), secret[:PREFIX_LENGTH]
    key.save(update_fields=_OF_THE_SECRET)
    changes: dict[str, tuple[object, object]] = {"prefix": (before, key.prefix)}
    if until is not None:
        changes["previous_expires_at"] = (None, until)
    audit.record("api_key.rotated", key, organization=key.organization_id, name=key.name, changes=changes)
    record_change(Kind.API_KEY, key.pk)
    return secret


@transaction.atomic
def set_api_keys_enabled(*, keys: Iterable[ApiKey], enabled: bool) -> int:
    """Revoke keys, or bring them back. Returns how many changed.

    What is deleted stays so, and a key whose owner has left stays revoked: they still know its secret.
    """
    changed = 0
    for key in keys:
        rows = ApiKey.objects.filter(pk=key.pk, deleted_at__isnull=True).exclude(enabled=enabled)
        if enabled:
            rows = rows.filter(user__memberships__organization=F("organization"))
        if rows.update(enabled=enabled):
            key.enabled = enabled
            action = "api_key.enabled" if enabled else "api_key.disabled"
            audit.record(action, key, organization=key.organization_id, name=key.name)
            record_change(Kind.API_KEY, key.pk)
            changed += 1
    return changed


@transaction.atomic
def delete_api_key(*, key: ApiKey) -> None:
    """Delete a key: within a second the relay knows neither of its secrets. The row stays, for records name it."""
    locked = ApiKey.objects.select_for_update().get(pk=key.pk)
    if locked.deleted_at is not None:
        return
    key.deleted_at, key.enabled = timezone.now(), False
    # No secret has these digests: a look-up that forgets to ask for `deleted_at` finds nothing either.
    key.digest, key.previous_digest, key.previous_expires_at = f"deleted-{key.pk}", None, None
    key.save(update_fields=["deleted_at", "enabled", "digest", "previous_digest", "previous_expires_at"])
    if key.purpose == ApiKey.Purpose.API:
        audit.record("api_key.deleted", key, organization=key.organization_id, name=key.name)
    record_change(Kind.API_KEY, key.pk)


_OF_THE_SECRET = ["digest", "prefix", "previous_digest", "previous_expires_at"]
_EDITED = [
    field.name
    for field in ApiKey._meta.concrete_fields
    if field.name not in {"id", "created_at", "deleted_at", "purpose", *_OF_THE_SECRET}
]


def _lock(key: ApiKey) -> ApiKey:
    """The key as it is stored, locked until the transaction ends. Raises ValidationError for a deleted one."""
    stored = ApiKey.objects.select_for_update().filter(pk=key.pk, deleted_at__isnull=True).first()
    if stored is None:
        raise ValidationError(_("This key is deleted."))
    return stored


def _digest(secret: str) -> str:
    return crypto.key_digest(settings.KEY_HASH_SECRET, secret)


def _record_saved(key: ApiKey, *, is_new: bool, changes: dict[str, tuple[object, object]]) -> None:
    """Keys of the playground live for minutes and nobody handles them: their requests are in the usage logs."""
    if key.purpose == ApiKey.Purpose.PLAYGROUND or not (is_new or changes):
        return
    action = "api_key.created" if is_new else "api_key.changed"
    audit.record(action, key, organization=key.organization_id, name=key.name, changes=changes)
