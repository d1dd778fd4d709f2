"""Organizations, the tenants."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from accounts import audit
from accounts.changes import record_change
from accounts.models import ConfigChange, Membership, Organization, User

Status = Organization.Status


@transaction.atomic
def create_organization(*, name: str, owner: User, is_personal: bool = False) -> Organization:
    """A new organization with its owner as the first member. Raises ValidationError."""
    organization = Organization(name=name.strip(), is_personal=is_personal)
    organization.full_clean()
    organization.save()
    Membership.objects.create(user=owner, organization=organization, role=Membership.Role.OWNER)
    audit.record("organization.created", organization, organization=organization, changes={"owner": (None, str(owner))})
    return organization


@transaction.atomic
def save_organization(*, organization: Organization) -> Organization:
    """Save an edited organization; its keys notice within a second. Raises ValidationError."""
    organization.name = organization.name.strip()
    organization.full_clean()
    changes = audit.changed_fields(organization)
    organization.save()
    if changes.pop("status", None) is not None:
        _record_status(organization)
    audit.record_saved("organization", organization, is_new=False, changes=changes, organization=organization)
    record_change(ConfigChange.Kind.ORGANIZATION, organization.pk)
    return organization


@transaction.atomic
def rename_organization(*, organization: Organization, name: str) -> Organization:
    """Give an organization another name and change nothing else: one suspended meanwhile stays so.

    Raises ValidationError.
    """
    stored = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    stored.name = name
    return save_organization(organization=stored)


@transaction.atomic
def set_organizations_status(*, organizations: Iterable[Organization], status: str) -> int:
    """Suspend organizations, or bring them back. Returns how many changed."""
    changed = 0
    for organization in organizations:
        if organization.status != status:
            organization.status = status
            organization.save(update_fields=["status"])
            _record_status(organization)
            record_change(ConfigChange.Kind.ORGANIZATION, organization.pk)
            changed += 1
    return changed


def _record_status(organization: Organization) -> None:
    is_active = organization.status == Status.ACTIVE
    action = "organization.activated" if is_active else "organization.suspended"
    audit.record(action, organization, organization=organization)
