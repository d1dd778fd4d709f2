"""Upstream channels. Credentials go in; they come out only of an export that asks for them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers

from channels_app import services, transfer
from channels_app.health import check_channel
from channels_app.models import CatalogueModel, Channel, ModelGroup, Provider
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import MAX_INT, Count, Flag, In, Names, Out, RateIn, Seconds, Text, Whole
from costrouter.api.lists import RowQuery, list_of, newest_first
from costrouter.lib.upstreams import DIALECTS

READ, WRITE = "operator:read", "operator:write"


class Health(Out):
    """How a channel has done lately, and what an operator's test of it said."""

    last_ok_at = serializers.DateTimeField(allow_null=True)
    last_failure_at = serializers.DateTimeField(allow_null=True)
    failures_in_row = serializers.IntegerField()
    recent = serializers.ListField(
        child=serializers.DictField(child=serializers.CharField()), help_text="The latest failures, the newest first."
    )
    last_test_at = serializers.DateTimeField(allow_null=True)
    last_test_ok = serializers.BooleanField(allow_null=True)
    last_test_detail = serializers.CharField()


class ChannelOut(Out):
    """One upstream account."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    provider = serializers.ChoiceField(choices=Provider.values)
    base_url = serializers.CharField()
    dialects = serializers.ListField(child=serializers.CharField())
    has_credentials = serializers.SerializerMethodField()
    status = serializers.ChoiceField(choices=Channel.Status.values)
    priority = serializers.IntegerField()
    weight = serializers.IntegerField()
    groups = serializers.SerializerMethodField()
    models = serializers.SerializerMethodField(
        help_text="Model → its name at the upstream; empty where it is the same."
    )
    cost_multiplier = serializers.DecimalField(max_digits=8, decimal_places=4)
    connect_timeout = serializers.FloatField()
    first_byte_timeout = serializers.FloatField()
    answer_timeout = serializers.FloatField()
    idle_timeout = serializers.FloatField()
    allow_private_addresses = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    health = Health(allow_null=True)

    def get_has_credentials(self, channel: Channel) -> bool:
        return bool(channel.credentials_encrypted)

    def get_groups(self, channel: Channel) -> list[str]:
        return [group.name for group in channel.groups.all()]

    def get_models(self, channel: Channel) -> dict[str, str]:
        return {place.model.name: place.upstream_name for place in channel.channel_models.all()}


class ChannelFields(In):
    """What a channel is. What is left out stays as it is."""

    name = Text(max_length=100, required=False)
    provider = serializers.ChoiceField(choices=Provider.values, required=False)
    base_url = Text(max_length=500, required=False, allow_blank=True, help_text="Empty: the provider's own service.")
    dialects = serializers.ListField(
        child=serializers.ChoiceField(choices=list(DIALECTS)), max_length=len(DIALECTS), required=False
    )
    credentials = Text(max_length=10_000, required=False, allow_blank=True, help_text="Empty: forget those stored.")
    status = serializers.ChoiceField(choices=Channel.Status.values, required=False)
    priority = Whole(min_value=-MAX_INT, max_value=MAX_INT, required=False)
    weight = Count(max_value=10_000, required=False)
    groups = Names(length=50, required=False)
    models = serializers.DictField(
        child=Text(max_length=200, allow_blank=True),
        required=False,
        help_text="Model of the catalogue → its name at the upstream; empty: the same.",
    )
    cost_multiplier = RateIn(required=False)
    connect_timeout = Seconds(required=False)
    first_byte_timeout = Seconds(required=False)
    answer_timeout = Seconds(required=False)
    idle_timeout = Seconds(required=False)
    allow_private_addresses = Flag(required=False)


class NewChannel(ChannelFields):
    """A channel to make. It is in the group `default` where no groups are given."""

    name = Text(max_length=100)
    provider = serializers.ChoiceField(choices=Provider.values)


class ChannelQuery(RowQuery):
    """Which channels."""

    search = Text(max_length=100, required=False, help_text="In the name.")
    status = serializers.ChoiceField(choices=Channel.Status.values, required=False)
    provider = serializers.ChoiceField(choices=Provider.values, required=False)
    group = Text(max_length=50, required=False)
    model = Text(max_length=150, required=False)


class CloneIn(In):
    """What the copy is called."""

    name = Text(max_length=100, required=False, allow_blank=True, help_text="Without it: NAME (copy).")


class TestIn(In):
    """What to ask for."""

    model = Text(max_length=150, required=False, allow_blank=True, help_text="Without it: the channel's first model.")


class TestResult(Out):
    """What came of the test."""

    ok = serializers.BooleanField()
    latency_ms = serializers.IntegerField()
    status = serializers.IntegerField(allow_null=True, help_text="The upstream's; null where it did not answer.")
    model = serializers.CharField()
    message = serializers.CharField()


class Document(Out):
    """Channels as a file: see `import`."""

    format = serializers.CharField()
    version = serializers.IntegerField()
    channels = serializers.ListField(child=serializers.DictField())


class ImportQuery(In):
    """Whether to do it."""

    dry_run = Flag(default=False, help_text="Only say what would happen.")


class DocumentIn(In):
    """What an export gave."""

    format = Text(max_length=100)
    version = Whole(min_value=0, max_value=1_000)
    channels = serializers.ListField(child=serializers.DictField(), max_length=transfer.MAX_CHANNELS)


class Planned(Out):
    """What happens to one channel."""

    name = serializers.CharField()
    action = serializers.ChoiceField(choices=("create", "change", "keep"))
    changes = serializers.DictField(child=serializers.ListField(), help_text="Field → [before, after].")
    notes = serializers.ListField(child=serializers.CharField())


class Plan(Out):
    """What an import did, or would do."""

    applied = serializers.BooleanField()
    channels = Planned(many=True)
    new_models = serializers.ListField(child=serializers.CharField(), help_text="They have no price yet.")


def by_name(kind: Any, names: list[str], field: str) -> list[Any]:
    """Rows by their names. Raises ValidationError for those that are not there."""
    found = {row.name: row for row in kind.objects.filter(name__in=names)}
    missing = sorted(set(names) - set(found))
    if missing:
        raise ValidationError({field: [f"There is no {name}." for name in missing[:10]]})
    return [found[name] for name in dict.fromkeys(names)]


def save(channel: Channel, body: dict[str, Any]) -> Channel:
    """A channel as a body asks for it. Raises ValidationError."""
    groups, models = None, None
    if "groups" in body:
        groups = by_name(ModelGroup, body["groups"], "groups")
    elif channel.pk is None:
        groups = [services.default_group()]
    if "models" in body:
        rows = by_name(CatalogueModel, list(body["models"]), "models")
        models = {row: body["models"][row.name] for row in rows}
    for name, value in body.items():
        if name not in ("groups", "models", "credentials"):
            setattr(channel, name, value)
    return services.save_channel(channel=channel, credentials=body.get("credentials"), groups=groups, models=models)


class ChannelResource(Resource):
    """A path about channels."""

    tag = "Operator: channels"

    def rows(self) -> Any:
        """Channels with all that is shown of them."""
        return Channel.objects.select_related("health").prefetch_related("groups", "channel_models__model")

    def find(self, channel_id: int) -> Channel:
        """A channel. Raises Refused."""
        found: Channel | None = self.rows().filter(pk=channel_id).first()
        if found is None:
            raise not_found()
        return found


class ChannelsView(ChannelResource):
    """`operator/channels`"""

    @operation(
        "listChannels",
        "List channels",
        scope=READ,
        permission="channels_app.view_channel",
        query=ChannelQuery,
        answer=list_of(ChannelOut),
    )
    def get(self) -> Any:
        """The newest first."""
        columns = {
            "search": "name__icontains",
            "status": "status",
            "provider": "provider",
            "group": "groups__name",
            "model": "channel_models__model__name",
        }
        wanted = {column: self.query[name] for name, column in columns.items() if name in self.query}
        return newest_first(self.rows().filter(**wanted), self.query)

    @operation(
        "createChannel",
        "Create a channel",
        scope=WRITE,
        permission="channels_app.add_channel",
        body=NewChannel,
        answer=ChannelOut,
        status=201,
    )
    def post(self) -> Any:
        """It serves the models that are named; requests reach it within a second."""
        return self.find(save(Channel(), self.body).pk)


class ChannelView(ChannelResource):
    """`operator/channels/{channel_id}`"""

    @operation("getChannel", "Get a channel", scope=READ, permission="channels_app.view_channel", answer=ChannelOut)
    def get(self, channel_id: int) -> Any:
        """With its health."""
        return self.find(channel_id)

    @operation(
        "changeChannel",
        "Change a channel",
        scope=WRITE,
        permission="channels_app.change_channel",
        body=ChannelFields,
        answer=ChannelOut,
    )
    def patch(self, channel_id: int) -> Any:
        """In force within a second. Groups and models that are given replace those there are."""
        save(self.find(channel_id), self.body)
        return self.find(channel_id)

    @operation("deleteChannel", "Delete a channel", scope=WRITE, permission="channels_app.delete_channel")
    def delete(self, channel_id: int) -> Any:
        """Records keep its number and name."""
        services.delete_channel(channel=self.find(channel_id))


class ChannelStatusView(ChannelResource):
    """`operator/channels/{channel_id}/enable` and its opposite"""

    def set(self, channel_id: int, status: str) -> Channel:
        """The channel with this status."""
        services.set_channels_status(channels=[self.find(channel_id)], status=status)
        return self.find(channel_id)


class EnableChannelView(ChannelStatusView):
    """`operator/channels/{channel_id}/enable`"""

    @operation(
        "enableChannel", "Enable a channel", scope=WRITE, permission="channels_app.change_channel", answer=ChannelOut
    )
    def post(self, channel_id: int) -> Any:
        return self.set(channel_id, Channel.Status.ENABLED)


class DisableChannelView(ChannelStatusView):
    """`operator/channels/{channel_id}/disable`"""

    @operation(
        "disableChannel", "Disable a channel", scope=WRITE, permission="channels_app.change_channel", answer=ChannelOut
    )
    def post(self, channel_id: int) -> Any:
        """New requests go elsewhere within a second; those under way end as they would."""
        return self.set(channel_id, Channel.Status.DISABLED)


class CloneChannelView(ChannelResource):
    """`operator/channels/{channel_id}/clone`"""

    @operation(
        "cloneChannel",
        "Clone a channel",
        scope=WRITE,
        permission="channels_app.add_channel",
        body=CloneIn,
        answer=ChannelOut,
        status=201,
    )
    def post(self, channel_id: int) -> Any:
        """A disabled copy, with the same credentials, groups and models."""
        copy = services.clone_channel(channel=self.find(channel_id), name=self.body.get("name", ""))
        return self.find(copy.pk)


class TestChannelView(ChannelResource):
    """`operator/channels/{channel_id}/test`"""

    @operation(
        "testChannel",
        "Test a channel",
        scope=WRITE,
        permission="channels_app.change_channel",
        body=TestIn,
        answer=TestResult,
    )
    def post(self, channel_id: int) -> Any:
        """Sends one short real request; the upstream may charge for it. Its failure is a result, not an error."""
        return check_channel(channel=self.find(channel_id), model=self.body.get("model", ""))


class ExportView(ChannelResource):
    """`operator/channels/export`"""

    @operation(
        "exportChannels",
        "Export channels",
        scope=READ,
        permission="channels_app.view_channel",
        answer=Document,
    )
    def get(self) -> Any:
        """All of them as one document, without their credentials."""
        return transfer.export_channels(channels=self.rows().order_by("name"))

    @operation(
        "exportChannelsWithCredentials",
        "Export channels with their credentials",
        scope=WRITE,
        permission=("channels_app.view_channel", "channels_app.export_credentials"),
        answer=Document,
    )
    def post(self) -> Any:
        """The credentials are in clear, and the audit log tells who asked."""
        return transfer.export_channels(channels=self.rows().order_by("name"), with_credentials=True)


class ImportView(ChannelResource):
    """`operator/channels/import`"""

    @operation(
        "importChannels",
        "Import channels",
        scope=WRITE,
        permission=("channels_app.add_channel", "channels_app.change_channel"),
        query=ImportQuery,
        body=DocumentIn,
        answer=Plan,
    )
    def post(self) -> Any:
        """Makes the channels of a document, or changes those of the same names: all of them, or none. What an entry
        does not say stays as it is."""
        return transfer.import_channels(document=self.body, dry_run=self.query["dry_run"])
