"""Writes of the accounts app. Each runs in one transaction and numbers what the relay must notice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.changes import record_change
from accounts.models import ApiKey, ConfigChange, Membership, Organization, User
from costrouter.lib import crypto, ids, netguard

Kind = ConfigChange.Kind
PREFIX_LENGTH = 11


@transaction.atomic
def create_user(*, email: str, password: str | None = None, **extra: Any) -> User:
    """A new user with a personal organization that they own. A password of None cannot sign in."""
    user = User(email=User.objects.normalize_email(email).lower(), **extra)
    user.set_password(password)
    user.full_clean(exclude=["password"])
    user.save()
    create_organization(name=user.name or user.email, owner=user, is_personal=True)
    return user


@transaction.atomic
def create_organization(*, name: str, owner: User, is_personal: bool = False) -> Organization:
    """A new organization with its owner as the first member."""
    organization = Organization.objects.create(name=name, is_personal=is_personal)
    Membership.objects.create(user=owner, organization=organization, role=Membership.Role.OWNER)
    return organization


@transaction.atomic
def save_user(
    *, user: User, roles: Iterable[Group] | None = None, permissions: Iterable[Permission] | None = None
) -> User:
    """Save an edited user; where `is_active` changed, their keys notice within a second. None keeps what is there."""
    user.save()
    if roles is not None:
        user.groups.set(roles)
    if permissions is not None:
        user.user_permissions.set(permissions)
    record_change(Kind.USER, user.pk)
    return user


@transaction.atomic
def save_organization(*, organization: Organization) -> Organization:
    """Save an edited organization; its keys notice within a second."""
    organization.save()
    record_change(Kind.ORGANIZATION, organization.pk)
    return organization


@transaction.atomic
def set_organizations_status(*, organizations: Iterable[Organization], status: str) -> int:
    """Suspend organizations, or bring them back. Returns how many changed."""
    changed = 0
    for organization in organizations:
        if organization.status != status:
            organization.status = status
            organization.save(update_fields=["status"])
            record_change(Kind.ORGANIZATION, organization.pk)
            changed += 1
    return changed


@transaction.atomic
def change_members(
    *, organization: Organization, saved: Iterable[Membership] = (), removed: Iterable[Membership] = ()
) -> None:
    """Save and remove memberships together; keys of people who are no longer members are revoked.

    Raises ValidationError where no owner would be left.
    """
    for membership in saved:
        membership.full_clean()
        membership.save()
    for membership in removed:
        membership.delete()
    if not organization.memberships.filter(role=Membership.Role.OWNER).exists():
        raise ValidationError("An organization needs an owner.")
    members = organization.memberships.values("user")
    set_api_keys_enabled(keys=list(organization.api_keys.filter(enabled=True).exclude(user__in=members)), enabled=False)


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
) -> tuple[ApiKey, str]:
    """A new key and its secret, which exists nowhere else from now on. Raises ValidationError."""
    secret = ids.api_key()
    key = ApiKey(
        organization=organization,
        user=user,
        name=name,
        prefix=secret[:PREFIX_LENGTH],
        digest=crypto.key_digest(settings.KEY_HASH_SECRET, secret),
        expires_at=expires_at,
        allowed_models=list(allowed_models),
        allowed_ips=list(allowed_ips),
        group=group,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent_requests=concurrent_requests,
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
    if not Membership.objects.filter(organization_id=key.organization_id, user_id=key.user_id).exists():
        raise ValidationError({"user": "this user is not a member of the organization"})
    key.full_clean()
    key.save()
    record_change(Kind.API_KEY, key.pk)
    return key


@transaction.atomic
def set_api_keys_enabled(*, keys: Sequence[ApiKey], enabled: bool) -> int:
    """Revoke keys, or bring them back. Returns how many changed."""
    changed = 0
    for key in keys:
        if key.enabled != enabled:
            key.enabled = enabled
            key.save(update_fields=["enabled"])
            record_change(Kind.API_KEY, key.pk)
            changed += 1
    return changed


@transaction.atomic
def delete_api_key(*, key: ApiKey) -> None:
    """Delete a key; its records stay."""
    key_id = key.pk
    key.delete()
    record_change(Kind.API_KEY, key_id)
