"""The organization's audit log: as the console shows it, operators of the site unnamed."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.audit_log import OPERATOR, ORGANIZATION_ACTIONS, AuditFilter, audit_page
from costrouter.api.base import Resource, operation
from costrouter.api.fields import MomentIn, Out
from costrouter.api.lists import RowQuery, list_of


class ChangeOut(Out):
    """What was changed, in words."""

    label = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()


class Entry(Out):
    """Something that somebody did. It cannot be changed."""

    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    action = serializers.CharField(help_text="E.g. `api_key.created`.")
    text = serializers.CharField(help_text="The action in words.")
    who = serializers.CharField(help_text="The e-mail at that time; empty for an operator of the site.")
    is_operator = serializers.BooleanField()
    via = serializers.CharField()
    client_ip = serializers.CharField()
    object_kind = serializers.CharField()
    object_id = serializers.CharField()
    object_name = serializers.CharField()
    changes = ChangeOut(many=True)


class AuditQuery(RowQuery):
    """Which entries."""

    action = serializers.ChoiceField(choices=list(ORGANIZATION_ACTIONS), required=False)
    who = serializers.RegexField(
        rf"^([1-9][0-9]{{0,17}}|{OPERATOR})$", required=False, help_text=f"A user's number, or `{OPERATOR}`."
    )
    since = MomentIn(required=False)


class AuditView(Resource):
    """`audit`"""

    tag = "Team"

    @operation(
        "listAudit",
        "Read the audit log",
        scope="team:read",
        action="audit.view",
        query=AuditQuery,
        answer=list_of(Entry),
    )
    def get(self) -> Any:
        """Who did what in your organization, the newest first. Admins and owners only. A page that filters hard may be
        short or even empty though more follows: go on while `next_cursor` is not null."""
        asked = self.query
        found = audit_page(
            organization_id=self.member.organization_id,
            wanted=AuditFilter(action=asked.get("action", ""), who=asked.get("who", ""), since=asked.get("since")),
            before=int(asked["cursor"]) if "cursor" in asked else None,
            size=asked["limit"],
        )
        return {"data": found.rows, "next_cursor": None if found.before is None else str(found.before)}
