"""Model groups: which channels a key may use, and at what rate."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers

from accounts.models import Organization
from channels_app import services
from channels_app.models import ModelGroup
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import Flag, Id, In, Out, Pattern, RateIn, Text
from costrouter.api.lists import NameQuery, list_of, newest_first
from costrouter.api.operator import READ, WRITE


class GroupOut(Out):
    """A set of channels, and the rate at which their use is charged."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    description = serializers.CharField()
    rate = serializers.DecimalField(max_digits=8, decimal_places=4)
    is_public = serializers.BooleanField()
    organization_ids = serializers.SerializerMethodField(help_text="Who may use it where it is not public.")

    def get_organization_ids(self, group: ModelGroup) -> list[int]:
        return sorted(organization.pk for organization in group.organizations.all())


class GroupFields(In):
    """What a group is. What is left out stays as it is."""

    name = Pattern(r"^[-a-zA-Z0-9_]+$", max_length=50, required=False)
    description = Text(max_length=200, required=False, allow_blank=True)
    rate = RateIn(required=False)
    is_public = Flag(required=False)
    organization_ids = serializers.ListField(child=Id(), max_length=1_000, required=False)


class NewGroup(GroupFields):
    """A group to make. The rate is 1 and everyone may use it, unless said otherwise."""

    name = Pattern(r"^[-a-zA-Z0-9_]+$", max_length=50)


def save_group(group: ModelGroup, body: dict[str, Any]) -> ModelGroup:
    """A group as a body asks for it. Raises ValidationError."""
    organizations = None
    if "organization_ids" in body:
        wanted = set(body["organization_ids"])
        organizations = list(Organization.objects.filter(pk__in=wanted))
        if len(organizations) < len(wanted):
            raise ValidationError({"organization_ids": "One of them is not there."})
    for name, value in body.items():
        if name != "organization_ids":
            setattr(group, name, value)
    return services.save_group(group=group, organizations=organizations)


class GroupResource(Resource):
    """A path about groups."""

    tag = "Operator: catalogue"

    def find(self, group_id: int) -> ModelGroup:
        """A group. Raises Refused."""
        found = ModelGroup.objects.prefetch_related("organizations").filter(pk=group_id).first()
        if found is None:
            raise not_found()
        return found


class GroupsView(GroupResource):
    """`operator/groups`"""

    @operation(
        "listAllGroups",
        "List model groups",
        scope=READ,
        permission="channels_app.view_modelgroup",
        query=NameQuery,
        answer=list_of(GroupOut),
    )
    def get(self) -> Any:
        """The newest first."""
        rows = ModelGroup.objects.prefetch_related("organizations")
        if "search" in self.query:
            rows = rows.filter(name__icontains=self.query["search"])
        return newest_first(rows, self.query)

    @operation(
        "createGroup",
        "Create a model group",
        scope=WRITE,
        permission="channels_app.add_modelgroup",
        body=NewGroup,
        answer=GroupOut,
        status=201,
    )
    def post(self) -> Any:
        """Give it channels by changing those."""
        return self.find(save_group(ModelGroup(), self.body).pk)


class GroupView(GroupResource):
    """`operator/groups/{group_id}`"""

    @operation("getGroup", "Get a model group", scope=READ, permission="channels_app.view_modelgroup", answer=GroupOut)
    def get(self, group_id: int) -> Any:
        return self.find(group_id)

    @operation(
        "changeGroup",
        "Change a model group",
        scope=WRITE,
        permission="channels_app.change_modelgroup",
        body=GroupFields,
        answer=GroupOut,
    )
    def patch(self, group_id: int) -> Any:
        """Another rate is for requests from now on."""
        save_group(self.find(group_id), self.body)
        return self.find(group_id)

    @operation("deleteGroup", "Delete a model group", scope=WRITE, permission="channels_app.delete_modelgroup")
    def delete(self, group_id: int) -> Any:
        """Keys that still name it are refused with 403."""
        services.delete_group(group=self.find(group_id))
