"""What the operations on channels take and answer."""

from __future__ import annotations

from rest_framework import serializers

from channels_app import transfer
from channels_app.models import Channel, Provider
from costrouter.api.fields import MAX_INT, Count, Flag, In, Names, Out, RateIn, Seconds, Text, Whole
from costrouter.api.lists import RowQuery
from costrouter.lib.upstreams import DIALECTS


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
