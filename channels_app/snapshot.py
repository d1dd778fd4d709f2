"""The routing snapshot: channels, models and groups as immutable objects that a web process keeps in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

from django.conf import settings

from channels_app.models import CatalogueModel, Channel, ModelGroup, Provider
from costrouter.lib import crypto, netguard
from costrouter.lib.upstreams import effective_dialects

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """A channel that can be used. `models` maps the names clients use to the upstream's.

    `dialects`: what conversations it is asked in, the best first; empty where it holds none (rerankers).
    """

    id: int
    name: str
    provider: str
    base_url: str
    credentials: str = field(repr=False)
    enabled: bool
    priority: int
    weight: int
    groups: frozenset[str]
    models: Mapping[str, str]
    connect_timeout: float
    first_byte_timeout: float
    answer_timeout: float
    idle_timeout: float
    cost_multiplier: Decimal
    allow_private_addresses: bool
    dialects: tuple[str, ...] = ("chat",)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model of the catalogue. Sizes are tokens."""

    name: str
    owned_by: str
    context_window: int | None
    max_output: int | None
    allowances: Mapping[str, int]
    hidden_reasoning: bool
    created: int
    display_name: str = ""
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A model group; `organizations` may use it where it is not public."""

    name: str
    rate: Decimal
    is_public: bool
    organizations: frozenset[int]

    def admits(self, organization_id: int) -> bool:
        """Whether an organization may use this group."""
        return self.is_public or organization_id in self.organizations


@dataclass(frozen=True, slots=True)
class RoutingSnapshot:
    """All of it, by id as the database has it, and by name as requests ask for it."""

    channels: Mapping[int, ChannelInfo]
    models: Mapping[int, ModelInfo]
    groups: Mapping[int, GroupInfo]
    by_model: Mapping[str, tuple[ChannelInfo, ...]]
    model_by_name: Mapping[str, ModelInfo]
    group_by_name: Mapping[str, GroupInfo]

    @staticmethod
    def of(
        channels: Mapping[int, ChannelInfo], models: Mapping[int, ModelInfo], groups: Mapping[int, GroupInfo]
    ) -> RoutingSnapshot:
        """A snapshot with its indexes: for each model its channels, the highest priority first."""
        by_model: dict[str, list[ChannelInfo]] = {}
        for channel in sorted(channels.values(), key=lambda c: (-c.priority, c.id)):
            for name in channel.models:
                by_model.setdefault(name, []).append(channel)
        return RoutingSnapshot(
            channels=channels,
            models=models,
            groups=groups,
            by_model={name: tuple(found) for name, found in by_model.items()},
            model_by_name={model.name: model for model in models.values()},
            group_by_name={group.name: group for group in groups.values()},
        )


def load() -> RoutingSnapshot:
    """The whole snapshot from the database."""
    return RoutingSnapshot.of(load_channels(), load_models(), load_groups())


def refresh(
    snapshot: RoutingSnapshot, *, channel_ids: set[int], model_ids: set[int], group_ids: set[int]
) -> RoutingSnapshot:
    """The snapshot with only what changed fetched again, and the channels of models and groups that it is about."""
    models = _replaced(snapshot.models, model_ids, load_models(model_ids))
    groups = _replaced(snapshot.groups, group_ids, load_groups(group_ids))
    if model_ids or group_ids:
        touched = Channel.objects.filter(channel_models__model_id__in=model_ids) | Channel.objects.filter(
            groups__in=group_ids
        )
        # Of what is deleted or renamed, only the old snapshot knows which channels had it.
        old_models = {snapshot.models[number].name for number in model_ids & snapshot.models.keys()}
        old_groups = {snapshot.groups[number].name for number in group_ids & snapshot.groups.keys()}
        channel_ids = (
            channel_ids
            | set(touched.values_list("pk", flat=True))
            | {
                number
                for number, channel in snapshot.channels.items()
                if old_models & channel.models.keys() or old_groups & channel.groups
            }
        )
    channels = _replaced(snapshot.channels, channel_ids, load_channels(channel_ids))
    return RoutingSnapshot.of(channels, models, groups)


def _replaced(old: Mapping[int, T], changed: set[int], fetched: Mapping[int, T]) -> dict[int, T]:
    return {**{number: value for number, value in old.items() if number not in changed}, **fetched}


def load_channels(ids: Iterable[int] | None = None) -> dict[int, ChannelInfo]:
    """Channels by id. One whose credentials cannot be decrypted, or whose URL is not allowed, is left disabled."""
    rows = Channel.objects.prefetch_related("groups", "channel_models__model")
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    return {row.pk: _channel(row) for row in rows}


def channel_base_url(channel: Channel) -> str:
    """Where a channel's requests go: the sandbox's address is known only while it runs."""
    return settings.SANDBOX_URL if channel.provider == Provider.SANDBOX else channel.base_url


def channel_credentials(channel: Channel) -> str:
    """A channel's key in clear. Raises crypto.CannotDecrypt."""
    if not channel.credentials_encrypted:
        return ""
    return crypto.decrypt(settings.FIELD_ENCRYPTION_KEYS, channel.credentials_encrypted)


def _channel(row: Channel) -> ChannelInfo:
    base_url = channel_base_url(row)
    private = row.allow_private_addresses or row.provider == Provider.SANDBOX
    info = ChannelInfo(
        id=row.pk,
        name=row.name,
        provider=row.provider,
        base_url=base_url,
        credentials="",
        enabled=row.status == Channel.Status.ENABLED,
        priority=row.priority,
        weight=row.weight,
        groups=frozenset(group.name for group in row.groups.all()),
        models={place.model.name: place.upstream_name or place.model.name for place in row.channel_models.all()},
        connect_timeout=row.connect_timeout,
        first_byte_timeout=row.first_byte_timeout,
        answer_timeout=row.answer_timeout,
        idle_timeout=row.idle_timeout,
        cost_multiplier=row.cost_multiplier,
        allow_private_addresses=private,
        dialects=effective_dialects(row.provider, row.dialects),
    )
    problem = netguard.url_problem(base_url, allow_private=private)
    try:
        credentials = channel_credentials(row)
    except crypto.CannotDecrypt as error:
        problem = str(error)
        credentials = ""
    if problem:
        if info.enabled:
            log.warning("channel %s (%s) is not used: %s", row.pk, row.name, problem)
        return replace(info, enabled=False)
    return replace(info, credentials=credentials)


def load_models(ids: Iterable[int] | None = None) -> dict[int, ModelInfo]:
    """Models by id."""
    rows = CatalogueModel.objects.all()
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    return {
        row.pk: ModelInfo(
            name=row.name,
            owned_by=row.owned_by,
            context_window=row.context_window,
            max_output=row.max_output,
            allowances={"image": row.image_allowance, "audio": row.audio_allowance, "file": row.file_allowance},
            hidden_reasoning=row.hidden_reasoning,
            created=int(row.created_at.timestamp()),
            display_name=row.display_name,
            input_modalities=tuple(row.input_modalities),
            output_modalities=tuple(row.output_modalities),
        )
        for row in rows
    }


def load_groups(ids: Iterable[int] | None = None) -> dict[int, GroupInfo]:
    """Groups by id."""
    rows = ModelGroup.objects.prefetch_related("organizations")
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    return {
        row.pk: GroupInfo(
            name=row.name,
            rate=row.rate,
            is_public=row.is_public,
            organizations=frozenset(organization.pk for organization in row.organizations.all()),
        )
        for row in rows
    }
