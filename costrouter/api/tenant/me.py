"""Who the caller is, and the organizations they are in."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts import services
from accounts.models import Membership, Organization, PersonalAccessToken
from accounts.permissions import PERMISSIONS, allows
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import Id, In, Out, Text
from costrouter.api.lists import all_of
from costrouter.console.access import current_member, switch_organization


class OrganizationRow(Out):
    """An organization that you are in."""

    id = serializers.IntegerField(source="organization.pk")
    name = serializers.CharField(source="organization.name")
    is_personal = serializers.BooleanField(source="organization.is_personal")
    status = serializers.ChoiceField(source="organization.status", choices=Organization.Status.values)
    role = serializers.ChoiceField(choices=Membership.Role.values)
    created_at = serializers.DateTimeField(source="organization.created_at")


class UserOut(Out):
    """A person."""

    id = serializers.IntegerField(source="pk")
    email = serializers.EmailField()
    name = serializers.CharField()
    is_operator = serializers.BooleanField(source="is_staff")


class Me(Out):
    """You."""

    user = UserOut()
    organization = OrganizationRow(allow_null=True, help_text="The one you act in.")
    organizations = OrganizationRow(many=True, help_text="All of yours; with a token, only its own.")
    permissions = serializers.ListField(
        child=serializers.ChoiceField(choices=list(PERMISSIONS)), help_text="What your role allows here."
    )
    scopes = serializers.ListField(
        child=serializers.CharField(), allow_null=True, help_text="Of the access token; null by session: all."
    )


class OrganizationIn(In):
    """A new organization, or another name for yours."""

    name = Text(max_length=150)


class SwitchIn(In):
    """Which of yours."""

    organization_id = Id()


def memberships(request: Any) -> list[Membership]:
    """The caller's places in organizations. A token is of one organization and does not tell of others."""
    rows = Membership.objects.filter(user=request.user).select_related("organization", "user")
    if isinstance(request.auth, PersonalAccessToken):
        rows = rows.filter(organization_id=request.auth.organization_id)
    return list(rows.order_by("organization_id"))


class MeView(Resource):
    """`me`"""

    tag = "You"

    @operation("me", "Who you are", answer=Me)
    def get(self) -> Any:
        """You, your organizations, and what your role in the current one allows."""
        member, token = self._member, self.request.auth
        return {
            "user": self.request.user,
            "organization": member,
            "organizations": memberships(self.request),
            "permissions": [action for action in PERMISSIONS if member is not None and allows(member.role, action)],
            "scopes": token.scopes if isinstance(token, PersonalAccessToken) else None,
        }


class OrganizationsView(Resource):
    """`organizations`"""

    tag = "You"

    @operation("listOrganizations", "List your organizations", answer=all_of(OrganizationRow))
    def get(self) -> Any:
        """With a token, only the one it belongs to."""
        return {"data": memberships(self.request)}

    @operation(
        "createOrganization",
        "Create an organization",
        body=OrganizationIn,
        answer=OrganizationRow,
        status=201,
        session_only=True,
    )
    def post(self) -> Any:
        """You become its owner. A session goes on acting in the organization it was in."""
        made = services.create_organization(name=self.body["name"], owner=self.request.user)
        return Membership.objects.select_related("organization").get(organization=made, user=self.request.user)


class OrganizationView(Resource):
    """`organization`: the current one."""

    tag = "You"

    @operation("getOrganization", "Your current organization", action="overview.view", answer=OrganizationRow)
    def get(self) -> Any:
        """The one a token belongs to, or the one chosen in the console."""
        return self.member

    @operation(
        "changeOrganization",
        "Rename your current organization",
        scope="team:write",
        action="organization.edit",
        body=OrganizationIn,
        answer=OrganizationRow,
    )
    def patch(self) -> Any:
        """Owners only."""
        found = self.member
        found.organization = services.rename_organization(organization=found.organization, name=self.body["name"])
        return found


class SwitchView(Resource):
    """`organization/switch`"""

    tag = "You"

    @operation(
        "switchOrganization",
        "Choose your current organization",
        body=SwitchIn,
        answer=OrganizationRow,
        session_only=True,
    )
    def post(self) -> Any:
        """Of this session, in the console too. A token stays with its own."""
        if switch_organization(self.request, self.body["organization_id"]) is None:
            raise not_found()
        return current_member(self.request)
