"""What an organization can use."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from costrouter import keys
from costrouter.api.base import Resource, operation
from costrouter.api.fields import Out
from costrouter.api.lists import all_of


class Group(Out):
    """A model group: what a key is in."""

    name = serializers.CharField()
    description = serializers.CharField()
    rate = serializers.DecimalField(max_digits=8, decimal_places=4, help_text="Times the list prices.")
    models = serializers.ListField(child=serializers.CharField())


class GroupsView(Resource):
    """`groups`"""

    tag = "Models"

    @operation("listGroups", "List model groups", scope="models:read", action="models.view", answer=all_of(Group))
    def get(self) -> Any:
        """Those that your organization may use, each with the models that its channels serve."""
        return {"data": keys.usable_groups(self.member.organization_id)}
