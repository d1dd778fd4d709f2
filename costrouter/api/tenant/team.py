"""Who is in the organization, and who is invited."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts import services
from accounts.models import Invitation, Membership
from costrouter.api import access
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import In, Out, Text
from costrouter.api.lists import RowQuery, list_of, newest_first
from costrouter.api.tenant.me import OrganizationRow
from costrouter.sign_in.links import base_url

Role = Membership.Role


class Member(Out):
    """Somebody in the organization."""

    user_id = serializers.IntegerField()
    email = serializers.EmailField(source="user.email")
    name = serializers.CharField(source="user.name")
    role = serializers.ChoiceField(choices=Role.values)


class RoleIn(In):
    """Another role."""

    role = serializers.ChoiceField(choices=Role.values)


class InvitationOut(Out):
    """An open invitation. Its link is in the e-mail only."""

    id = serializers.IntegerField(source="pk")
    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=Role.values)
    invited_by = serializers.EmailField(source="invited_by.email", allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class InvitationIn(In):
    """Whom to invite, as what."""

    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField(choices=Role.values, default=Role.MEMBER.value)


class Acceptance(In):
    """The secret of an invitation: the last part of its link."""

    secret = Text(max_length=200)


class MembersView(Resource):
    """`members`"""

    tag = "Team"

    @operation(
        "listMembers", "List members", scope="team:read", action="team.view", query=RowQuery, answer=list_of(Member)
    )
    def get(self) -> Any:
        """Those who joined last come first."""
        return newest_first(self.member.organization.memberships.select_related("user"), self.query)


class MemberView(Resource):
    """`members/{user_id}`"""

    tag = "Team"

    def find(self, user_id: int) -> Membership:
        """A member of this organization. Raises Refused."""
        found = self.member.organization.memberships.select_related("user", "organization").filter(user=user_id).first()
        if found is None:
            raise not_found()
        return found

    @operation("getMember", "Get a member", scope="team:read", action="team.view", answer=Member)
    def get(self, user_id: int) -> Any:
        return self.find(user_id)

    @operation(
        "changeMember",
        "Change a member's role",
        scope="team:write",
        action="team.manage",
        body=RoleIn,
        answer=Member,
    )
    def patch(self, user_id: int) -> Any:
        """Admins and owners; only owners make owners or change them. An organization always keeps one."""
        target = self.find(user_id)
        if Role.OWNER in (target.role, self.body["role"]):
            access.check_role(self.member, "team.owners")
        return services.change_role(actor=self.member, target=target, role=self.body["role"])

    @operation("removeMember", "Remove a member, or leave", scope="team:write", action="team.view")
    def delete(self, user_id: int) -> Any:
        """Their keys here are switched off, their access tokens deleted. Everyone may remove themselves, but for the
        last owner."""
        target = self.find(user_id)
        if target.pk == self.member.pk:
            services.leave(member=target)
            return
        access.check_role(self.member, "team.owners" if target.role == Role.OWNER else "team.manage")
        services.remove_member(actor=self.member, target=target)


class InvitationsView(Resource):
    """`invitations`"""

    tag = "Team"

    @operation(
        "listInvitations",
        "List open invitations",
        scope="team:read",
        action="team.manage",
        query=RowQuery,
        answer=list_of(InvitationOut),
    )
    def get(self) -> Any:
        """Those that nobody has accepted yet, expired ones too."""
        rows = self.member.organization.invitations.filter(accepted_at__isnull=True).select_related("invited_by")
        return newest_first(rows, self.query)

    @operation(
        "invite",
        "Invite somebody",
        scope="team:write",
        action="team.manage",
        body=InvitationIn,
        answer=InvitationOut,
        status=201,
    )
    def post(self) -> Any:
        """They get an e-mail with a link that works for a week. An earlier invitation of theirs ends."""
        if self.body["role"] == Role.OWNER:
            access.check_role(self.member, "team.owners")
        return services.invite(member=self.member, site_url=base_url(self.request._request), **self.body)


class InvitationView(Resource):
    """`invitations/{invitation_id}`"""

    tag = "Team"

    def find(self, invitation_id: int) -> Invitation:
        """An open invitation of this organization. Raises Refused."""
        rows = self.member.organization.invitations.select_related("invited_by", "organization")
        found = rows.filter(pk=invitation_id, accepted_at__isnull=True).first()
        if found is None:
            raise not_found()
        return found

    @operation("getInvitation", "Get an open invitation", scope="team:read", action="team.manage", answer=InvitationOut)
    def get(self, invitation_id: int) -> Any:
        return self.find(invitation_id)

    @operation("withdrawInvitation", "Withdraw an invitation", scope="team:write", action="team.manage")
    def delete(self, invitation_id: int) -> Any:
        """Its link ends."""
        invitation = self.find(invitation_id)
        if invitation.role == Role.OWNER:
            access.check_role(self.member, "team.owners")
        services.withdraw_invitation(member=self.member, invitation=invitation)


class AcceptView(Resource):
    """`invitations/accept`"""

    tag = "Team"

    @operation("acceptInvitation", "Accept an invitation", body=Acceptance, answer=OrganizationRow, session_only=True)
    def post(self) -> Any:
        """You join its organization, once."""
        return services.accept_invitation(secret=self.body["secret"], user=self.request.user)
