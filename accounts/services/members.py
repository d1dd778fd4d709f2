"""Who is in an organization, and as what."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import Invitation, Membership, Organization
from accounts.permissions import allows
from accounts.services.access_tokens import delete_access_token
from accounts.services.api_keys import set_api_keys_enabled

Role = Membership.Role


@transaction.atomic
def change_members(
    *, organization: Organization, saved: Iterable[Membership] = (), removed: Iterable[Membership] = ()
) -> None:
    """Save and remove memberships together, as an operator may; what those who leave had there is revoked.

    Raises ValidationError where no owner would be left.
    """
    lock_members(organization)
    for membership in saved:
        membership.full_clean()
        is_new = membership.pk is None
        changes = audit.given_fields(membership, "role") if is_new else audit.changed_fields(membership)
        membership.save()
        if is_new or changes:
            _record("member.joined" if is_new else "member.changed", membership, changes)
    for membership in removed:
        _record("member.removed", membership)
        membership.delete()
    _settle(organization)


@transaction.atomic
def change_role(*, actor: Membership, target: Membership, role: str) -> Membership:
    """Give a member another role. Raises ValidationError where the actor may not, or no owner would be left."""
    if role not in Role.values:
        raise ValidationError({"role": _("There is no such role.")})
    members = lock_members(target.organization)
    found = _allowed(members, actor, target, "team.owners" if role == Role.OWNER else "team.manage")
    before, found.role = found.role, Role(role)
    if before != found.role:
        found.save(update_fields=["role"])
        _record("member.changed", found, {"role": (before, found.role)})
        _settle(found.organization)
    return found


@transaction.atomic
def remove_member(*, actor: Membership, target: Membership) -> None:
    """Take a member out; their keys here are switched off, their access tokens and open invitations deleted.

    Raises ValidationError where the actor may not, or no owner would be left.
    """
    members = lock_members(target.organization)
    found = _allowed(members, actor, target, "team.manage")
    _record("member.removed", found)
    found.delete()
    _settle(target.organization)


@transaction.atomic
def leave(*, member: Membership) -> None:
    """Leave an organization, as `remove_member` does. Raises ValidationError for the last owner."""
    members = lock_members(member.organization)
    found = members.get(member.pk)
    if found is None:
        return
    _record("member.removed", found)
    found.delete()
    _settle(member.organization)


def lock_members(organization: Organization) -> dict[int, Membership]:
    """The organization's memberships by number, locked in this order until the transaction ends.

    The organization's row comes first: it also keeps two who join at the same time one after the other.
    """
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    rows = organization.memberships.select_for_update(of=("self",)).select_related("user", "organization")
    return {row.pk: row for row in rows.order_by("pk")}


def _allowed(members: dict[int, Membership], actor: Membership, target: Membership, action: str) -> Membership:
    """The target as it is now, where the actor, as they are now, may do `action` to it. Raises ValidationError."""
    found, acting = members.get(target.pk), members.get(actor.pk)
    if found is None:
        raise ValidationError(_("This person is no longer a member."))
    if acting is None or not allows(acting.role, "team.manage"):
        raise ValidationError(_("Your role does not allow this."))
    if not allows(acting.role, "team.owners" if found.role == Role.OWNER else action):
        raise ValidationError(_("Only an owner may make, change or remove owners."))
    return found


def _settle(organization: Organization) -> None:
    """What follows from who is a member now. Raises ValidationError where nobody owns the organization."""
    roles = dict(organization.memberships.values_list("user", "role"))
    if Role.OWNER not in roles.values():
        raise ValidationError(_("An organization needs an owner."))
    set_api_keys_enabled(keys=organization.api_keys.filter(enabled=True).exclude(user__in=roles), enabled=False)
    for token in organization.access_tokens.exclude(user__in=roles):
        delete_access_token(token=token)
    for invitation in organization.invitations.filter(accepted_at__isnull=True, invited_by__isnull=False):
        role = roles.get(invitation.invited_by_id or 0)
        if role is None or not may_invite(role, invitation.role):
            withdraw(invitation)


def may_invite(role: str, invited_role: str) -> bool:
    """Whether a member of `role` may let somebody join as `invited_role`."""
    return allows(role, "team.owners" if invited_role == Role.OWNER else "team.manage")


def withdraw(invitation: Invitation) -> None:
    """Delete an invitation that nobody has accepted; within a transaction."""
    audit.record(
        "member.invitation_deleted", invitation, organization=invitation.organization_id, name=invitation.email
    )
    invitation.delete()


def _record(action: str, member: Membership, changes: dict[str, tuple[object, object]] | None = None) -> None:
    audit.record(action, member, organization=member.organization_id, name=member.user.email, changes=changes)
