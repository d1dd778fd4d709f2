"""API keys: as in the console, with their limits and how they stand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from rest_framework import serializers

from accounts.models import ApiKey
from accounts.selectors import reach_of
from accounts.services import MAX_OVERLAP
from billing.models import Budget
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import Count, In, MomentIn, Names, Out, Text, UsdIn, UsdOut, Whole
from costrouter.api.lists import RowQuery, list_of
from costrouter.members import key_rows, keys
from costrouter.members.keys import KeySpec

STATUSES = (
    key_rows.ACTIVE,
    key_rows.ROTATING,
    key_rows.DISABLED,
    key_rows.EXPIRED,
    key_rows.LIMIT_REACHED,
)


class LimitOut(Out):
    """A spending limit and how it stands now. `held_usd` is what requests under way may still cost."""

    amount_usd = UsdOut(source="limit")
    window = serializers.ChoiceField(choices=Budget.Window.values, help_text="UTC days, weeks from Monday, months.")
    spent_usd = UsdOut(source="spent")
    held_usd = UsdOut(source="held")
    remaining_usd = UsdOut(source="remaining")


class SpentOut(Out):
    """What was charged, settled or not."""

    total_usd = UsdOut(source="total")
    day_usd = UsdOut(source="day")
    month_usd = UsdOut(source="month")


class Owner(Out):
    """The member whose key it is."""

    id = serializers.IntegerField(source="pk")
    email = serializers.EmailField()
    name = serializers.CharField()


class Key(Out):
    """An API key. Its secret is told once, when it is made or rotated."""

    id = serializers.IntegerField(source="key.pk")
    name = serializers.CharField(source="key.name")
    prefix = serializers.CharField(source="key.prefix", help_text="The first characters of the secret.")
    status = serializers.ChoiceField(choices=STATUSES, help_text="`rotating`: the secret before still works.")
    enabled = serializers.BooleanField(source="key.enabled")
    group = serializers.CharField(source="key.group")
    allowed_models = serializers.ListField(
        source="key.allowed_models", child=serializers.CharField(), help_text="Empty: every model of the group."
    )
    allowed_ips = serializers.ListField(
        source="key.allowed_ips", child=serializers.CharField(), help_text="Addresses and networks. Empty: anywhere."
    )
    expires_at = serializers.DateTimeField(source="key.expires_at", allow_null=True)
    limit = LimitOut(allow_null=True)
    requests_per_minute = serializers.IntegerField(source="key.requests_per_minute", allow_null=True)
    tokens_per_minute = serializers.IntegerField(source="key.tokens_per_minute", allow_null=True)
    concurrent_requests = serializers.IntegerField(source="key.concurrent_requests", allow_null=True)
    previous_expires_at = serializers.DateTimeField(
        source="key.previous_expires_at", allow_null=True, help_text="Until when the secret before works."
    )
    owner = Owner(source="key.user")
    spent = SpentOut()
    last_used_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField(source="key.created_at")


class KeyWithSecret(Out):
    """A key and its secret, which is stored nowhere."""

    secret = serializers.CharField(help_text="`sk-…`: shown this once.")
    key = Key()


class LimitIn(In):
    """A spending limit."""

    amount_usd = UsdIn()
    window = serializers.ChoiceField(choices=Budget.Window.values, default=Budget.Window.TOTAL.value)


class KeyFields(In):
    """What the owner of a key decides. What is left out stays as it is."""

    name = Text(max_length=100, required=False)
    group = Text(max_length=50, required=False, help_text="Of `groups`.")
    allowed_models = Names(length=150, required=False)
    allowed_ips = Names(length=50, required=False)
    expires_at = MomentIn(allow_null=True, required=False)
    limit = LimitIn(allow_null=True, required=False, help_text="null: no limit of its own.")
    requests_per_minute = Count(min_value=1, allow_null=True, required=False)
    tokens_per_minute = Count(min_value=1, allow_null=True, required=False)
    concurrent_requests = Count(min_value=1, allow_null=True, required=False)


class NewKey(KeyFields):
    """A key to make. What is left out is unlimited; the group is `default`."""

    name = Text(max_length=100)


class Rotation(In):
    """How the change of secrets happens."""

    overlap_seconds = Whole(
        min_value=0,
        max_value=int(MAX_OVERLAP.total_seconds()),
        default=0,
        help_text="How long the secret before goes on working.",
    )


class KeyQuery(RowQuery):
    """Which keys."""

    search = Text(max_length=100, required=False, help_text="In the name, or the prefix's beginning.")


def spec_from(body: dict[str, Any], before: KeySpec) -> KeySpec:
    """A key as a body asks for it: what it does not name is as `before`."""
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in body.items() if name != "limit"
    }
    if "limit" in body:
        limit = body["limit"]
        given["limit_nanos"] = limit["amount_usd"] if limit else None
        given["window"] = limit["window"] if limit else Budget.Window.TOTAL.value
    return replace(before, **given)


class OneKey(Resource):
    """A path about one key."""

    tag = "API keys"

    def find(self, key_id: int) -> ApiKey:
        """The key, where the caller may see it. Raises Refused."""
        found = keys.find_key(member=self.member, key_id=key_id)
        if found is None:
            raise not_found()
        return found

    def row(self, key_id: int) -> key_rows.KeyRow:
        """The key as it stands now."""
        return key_rows.key_rows(reach_of(self.member, "keys.all"), [self.find(key_id)])[0]


class KeysView(OneKey):
    """`keys`"""

    @operation("listKeys", "List API keys", scope="keys:read", action="keys.own", query=KeyQuery, answer=list_of(Key))
    def get(self) -> Any:
        """The newest first. Members see their own, admins and owners everybody's."""
        reach, limit = reach_of(self.member, "keys.all"), self.query["limit"]
        rows = key_rows.keys_of(reach, search=self.query.get("search", ""))
        if "cursor" in self.query:
            rows = rows.filter(pk__lt=int(self.query["cursor"]))
        found = list(rows.order_by("-pk")[: limit + 1])
        cursor = str(found[limit - 1].pk) if len(found) > limit else None
        shown = found[:limit]
        return {"data": key_rows.key_rows(reach, shown) if shown else [], "next_cursor": cursor}

    @operation(
        "createKey",
        "Create an API key",
        scope="keys:write",
        action="keys.own",
        body=NewKey,
        answer=KeyWithSecret,
        status=201,
    )
    def post(self) -> Any:
        """The key is yours. Its secret is in the answer and nowhere else."""
        spec = spec_from(self.body, KeySpec(name=""))
        key, secret = keys.create_key(member=self.member, spec=spec)
        return {"secret": secret, "key": self.row(key.pk)}


class KeyView(OneKey):
    """`keys/{key_id}`"""

    @operation("getKey", "Get an API key", scope="keys:read", action="keys.own", answer=Key)
    def get(self, key_id: int) -> Any:
        """With its spending, its limit and its last use."""
        return self.row(key_id)

    @operation("changeKey", "Change an API key", scope="keys:write", action="keys.own", body=KeyFields, answer=Key)
    def patch(self, key_id: int) -> Any:
        """In force within a second, in every process of the relay."""
        key = self.find(key_id)
        keys.change_key(member=self.member, key=key, spec=spec_from(self.body, keys.spec_of(key)))
        return self.row(key_id)

    @operation("deleteKey", "Delete an API key", scope="keys:write", action="keys.own")
    def delete(self, key_id: int) -> Any:
        """The relay knows it no more within a second. Usage logs keep its name."""
        keys.delete_key(member=self.member, key=self.find(key_id))


class RotateKeyView(OneKey):
    """`keys/{key_id}/rotate`"""

    @operation(
        "rotateKey",
        "Rotate an API key",
        scope="keys:write",
        action="keys.own",
        body=Rotation,
        answer=KeyWithSecret,
    )
    def post(self, key_id: int) -> Any:
        """A new secret for the same key. The one before goes on working for `overlap_seconds`."""
        overlap = timedelta(seconds=self.body["overlap_seconds"])
        secret = keys.rotate_key(member=self.member, key=self.find(key_id), overlap=overlap)
        return {"secret": secret, "key": self.row(key_id)}


class EnableKeyView(OneKey):
    """`keys/{key_id}/enable`"""

    @operation("enableKey", "Enable an API key", scope="keys:write", action="keys.own", answer=Key)
    def post(self, key_id: int) -> Any:
        """Nothing happens to one that is enabled."""
        keys.set_key_enabled(member=self.member, key=self.find(key_id), enabled=True)
        return self.row(key_id)


class DisableKeyView(OneKey):
    """`keys/{key_id}/disable`"""

    @operation("disableKey", "Disable an API key", scope="keys:write", action="keys.own", answer=Key)
    def post(self, key_id: int) -> Any:
        """Requests under it are refused with 403 within a second."""
        keys.set_key_enabled(member=self.member, key=self.find(key_id), enabled=False)
        return self.row(key_id)
