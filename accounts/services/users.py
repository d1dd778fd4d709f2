"""People."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, Permission
from django.db import transaction

from accounts import audit
from accounts.changes import record_change
from accounts.models import ConfigChange, Organization, User
from accounts.services.organizations import create_organization


@transaction.atomic
def create_user(*, email: str, password: str | None = None, email_verified: bool = True, **extra: Any) -> User:
    """A new user with a personal organization that they own. A password of None cannot sign in.

    `email_verified`: whoever makes the user vouches for the address. Off: sign-in has it verified first.
    """
    user = User(email=User.objects.normalize_email(email).lower(), **extra)
    user.set_password(password)
    user.full_clean(exclude=["password"])
    user.save()
    if email_verified:
        _verify_address(user)
    powers = [name for name in ("is_staff", "is_superuser") if getattr(user, name)]
    audit.record("user.created", user, changes=audit.given_fields(user, "name", *powers))
    longest = Organization._meta.get_field("name").max_length
    create_organization(name=(user.name or user.email)[:longest], owner=user, is_personal=True)
    return user


@transaction.atomic
def save_user(
    *, user: User, roles: Iterable[Group] | None = None, permissions: Iterable[Permission] | None = None
) -> User:
    """Save an edited user; where `is_active` changed, their keys notice within a second. None keeps what is there.

    Another address counts as verified: who sets it vouches for it.
    """
    changes, before = audit.changed_fields(user), _rights(user)
    user.save()
    if "email" in changes:
        _verify_address(user)
    if roles is not None:
        user.groups.set(roles)
    if permissions is not None:
        user.user_permissions.set(permissions)
    changes |= audit.differences(before, _rights(user))
    audit.record_saved("user", user, is_new=False, changes=changes)
    record_change(ConfigChange.Kind.USER, user.pk)
    return user


@transaction.atomic
def rename_user(*, user: User, name: str) -> User:
    """Give a user another name and change nothing else: who is switched off meanwhile stays so."""
    stored = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    stored.name = name
    return save_user(user=stored)


@transaction.atomic
def set_password(*, user: User, password: str | None) -> None:
    """Give a user another password, or with None no way to sign in by one. Their other sessions end."""
    before = user.has_usable_password()
    user.set_password(password)
    user.save(update_fields=["password"])
    changes = {"password": ("set" if before else "none", "replaced" if user.has_usable_password() else "none")}
    audit.record("user.changed", user, changes=changes)


@transaction.atomic
def remove_second_factors(*, users: Iterable[User]) -> int:
    """Take away authenticator apps, passkeys and recovery codes of people who lost them. Returns how many people."""
    changed = 0
    for user in users:
        removed, _ = Authenticator.objects.filter(user=user).delete()
        if removed:
            audit.record("user.changed", user, changes={"second factors": ("set", "none")})
            changed += 1
    return changed


@transaction.atomic
def save_role(*, role: Group, permissions: Iterable[Permission]) -> Group:
    """Save an operators' role and what it permits."""
    is_new = role.pk is None
    changes, before = audit.changed_fields(role), {} if is_new else _permits(role)
    role.save()
    role.permissions.set(permissions)
    changes |= audit.differences(before, _permits(role))
    audit.record_saved("role", role, is_new=is_new, changes=changes)
    return role


@transaction.atomic
def delete_role(*, role: Group) -> None:
    """Delete an operators' role; who had it keeps what else they may do."""
    audit.record("role.deleted", role)
    role.delete()


def _permits(role: Group) -> dict[str, object]:
    return {"permissions": list(role.permissions.order_by("codename").values_list("codename", flat=True))}


def _rights(user: User) -> dict[str, object]:
    return {
        "roles": list(user.groups.order_by("name").values_list("name", flat=True)),
        "permissions": list(user.user_permissions.order_by("codename").values_list("codename", flat=True)),
    }


def _verify_address(user: User) -> None:
    """Make the user's address the one they sign in with, verified."""
    EmailAddress.objects.filter(user=user).delete()
    EmailAddress.objects.create(user=user, email=user.email.lower(), verified=True, primary=True)
