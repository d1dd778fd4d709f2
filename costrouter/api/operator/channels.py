"""Upstream channels. Credentials go in; they come out only of an export that asks for them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError

from channels_app import services, transfer
from channels_app.health import check_channel
from channels_app.models import CatalogueModel, Channel, ModelGroup
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.lists import list_of, newest_first
from costrouter.api.operator import READ, WRITE
from costrouter.api.operator.channel_shapes import (
    ChannelFields,
    ChannelOut,
    ChannelQuery,
    CloneIn,
    Document,
    DocumentIn,
    ImportQuery,
    NewChannel,
    Plan,
    TestIn,
    TestResult,
)


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
