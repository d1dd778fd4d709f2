"""Invitations: an e-mail whose link lets its reader join an organization, once.

Whoever holds the link and is signed in may join, with whatever account they use: the link was sent to the invited
address alone, and people sign in with another one more often than they forward such a mail. The page says as whom they
join before they do.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import AuditEntry, Invitation, Membership, Organization, User
from accounts.services.members import lock_members, may_invite, withdraw
from costrouter.lib import crypto, ids

log = logging.getLogger(__name__)
INVITATION_LIFE = timedelta(days=7)
# So that nobody sends mail to the whole world in our name.
MAX_A_DAY = 50
Role = Membership.Role


@transaction.atomic
def invite(*, member: Membership, email: str, role: str, site_url: str) -> Invitation:
    """Invite somebody by e-mail, which is sent once the transaction commits. An earlier invitation ends.

    Nobody but the mail is told the link: who follows it has shown that the address is theirs (`costrouter.sign_in`).
    `site_url`: where this site is, "https://host". Raises ValidationError.
    """
    email = email.strip().lower()
    validate_email(email)
    if role not in Role.values:
        raise ValidationError({"role": _("There is no such role.")})
    organization = member.organization
    acting = lock_members(organization).get(member.pk)
    if acting is None or not may_invite(acting.role, Role.MEMBER):
        raise ValidationError(_("Your role does not allow this."))
    if not may_invite(acting.role, role):
        raise ValidationError({"role": _("Only an owner may invite owners.")})
    if organization.status != Organization.Status.ACTIVE:
        raise ValidationError(_("This organization is suspended: it sends no invitations."))
    if organization.is_personal:
        raise ValidationError(_("This organization is for you alone: make another one to work together."))
    if organization.memberships.filter(user__email__iexact=email).exists():
        raise ValidationError({"email": _("This person is a member already.")})
    now = timezone.now()
    # A person's own count goes over all their organizations: anybody may make as many as they like.
    theirs = acting.user.memberships.values_list("organization", flat=True)
    sent = AuditEntry.objects.filter(
        Q(organization=organization) | Q(actor=acting.user),
        organization__in=list(theirs),
        action="member.invited",
        at__gt=now - timedelta(days=1),
    )
    if sent.count() >= MAX_A_DAY:
        raise ValidationError(_("At most %(count)s invitations a day: try again tomorrow.") % {"count": MAX_A_DAY})
    organization.invitations.filter(email__iexact=email, accepted_at__isnull=True).delete()
    secret = ids.invitation()
    invitation = Invitation.objects.create(
        organization=organization,
        email=email,
        role=role,
        digest=_digest(secret),
        invited_by=acting.user,
        created_at=now,
        expires_at=now + INVITATION_LIFE,
    )
    audit.record("member.invited", invitation, organization=organization, name=email, changes={"role": (None, role)})
    link = f"{site_url.rstrip('/')}/console/invitations/{secret}/"
    transaction.on_commit(lambda: _send(invitation, acting.user, link))
    return invitation


def open_invitation(secret: str) -> Invitation | None:
    """The invitation of a link, with its organization and who invited; None where it is over, or never was."""
    return (
        Invitation.objects.select_related("organization", "invited_by")
        .filter(digest=_digest(secret), accepted_at__isnull=True, expires_at__gt=timezone.now())
        .first()
    )


@transaction.atomic
def accept_invitation(*, secret: str, user: User) -> Membership:
    """Join the organization of an invitation; its link works once. Raises ValidationError."""
    found = open_invitation(secret)
    if found is not None:
        lock_members(found.organization)
        found = open_invitation(secret)
    if found is None:
        raise ValidationError(_("This invitation is no longer valid: ask for another one."))
    if found.organization.memberships.filter(user=user).exists():
        raise ValidationError(_("You are a member already."))
    membership = Membership.objects.create(user=user, organization=found.organization, role=found.role)
    found.accepted_at = timezone.now()
    found.save(update_fields=["accepted_at"])
    changes: dict[str, tuple[object, object]] = {"role": (None, found.role)}
    if found.email != user.email:
        changes["invited_as"] = (None, found.email)
    audit.record("member.joined", membership, organization=found.organization, name=user.email, changes=changes)
    return membership


@transaction.atomic
def withdraw_invitation(*, member: Membership, invitation: Invitation) -> None:
    """Delete an open invitation; its link ends. Raises ValidationError where the member may not."""
    acting = lock_members(invitation.organization).get(member.pk)
    if acting is None or not may_invite(acting.role, invitation.role):
        raise ValidationError(_("Your role does not allow this."))
    stored = Invitation.objects.filter(pk=invitation.pk, accepted_at__isnull=True).first()
    if stored is None:
        raise ValidationError(_("This invitation was accepted already, or withdrawn."))
    withdraw(stored)


def _digest(secret: str) -> str:
    return crypto.key_digest(settings.KEY_HASH_SECRET, secret)


def _send(invitation: Invitation, sender: User, link: str) -> None:
    words = {"invitation": invitation, "sender": sender, "link": link, "days": INVITATION_LIFE.days}
    subject = _("Join %(organization)s on CostRouter") % {"organization": invitation.organization.name}
    text = render_to_string("accounts/invitation.txt", words)
    try:
        send_mail(" ".join(subject.split()), text, None, [invitation.email])
    except OSError as error:
        # The invitation stands; inviting again sends another.
        log.warning("an invitation could not be sent: %s", type(error).__name__)
