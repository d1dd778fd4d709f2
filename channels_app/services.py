"""Writes of the channels app. Each runs in one transaction and numbers what the relay must notice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.changes import record_change
from accounts.models import ConfigChange, Organization
from channels_app.models import CatalogueModel, Channel, ChannelModel, ModelGroup, Provider
from costrouter.lib import crypto, netguard
from costrouter.lib.upstreams import KINDS, credentials_problem, dialects_problem, one_line

Kind = ConfigChange.Kind


def channel_problem(*, provider: str, base_url: str, allow_private: bool, dialects: object = ()) -> dict[str, str]:
    """Why a channel cannot be used as it is: field → message, empty where it can."""
    problems = {}
    if provider == Provider.SANDBOX:
        if base_url:
            problems["base_url"] = "leave it empty: the sandbox chooses its own address"
    elif problem := netguard.url_problem(base_url, allow_private=allow_private):
        problems["base_url"] = f"The base URL {problem}."
    if provider in Provider.values and dialects and (problem := dialects_problem(provider, dialects)):
        problems["dialects"] = f"The list of dialects {problem}."
    return problems


@transaction.atomic
def save_channel(
    *,
    channel: Channel,
    credentials: str | None = None,
    groups: Iterable[ModelGroup] | None = None,
    models: Mapping[CatalogueModel, str] | None = None,
) -> Channel:
    """Save a channel. `credentials`, `groups`, `models` (model → upstream name or "") replace what is there if given.

    A base URL that is missing becomes that of the provider's own service, where it has one.
    Raises ValidationError, e.g. for a private address without the permission, or a dialect its provider does not speak.
    """
    if not channel.base_url and channel.provider in KINDS:
        channel.base_url = KINDS[channel.provider].base_url
    problems = channel_problem(
        provider=channel.provider,
        base_url=channel.base_url,
        allow_private=channel.allow_private_addresses,
        dialects=channel.dialects,
    )
    if problems:
        raise ValidationError(problems)
    if credentials is not None:
        credentials = one_line(credentials)
        if problem := credentials_problem(channel.provider, credentials):
            raise ValidationError({"credentials": f"The {problem}."})
        channel.credentials_encrypted = (
            crypto.encrypt(settings.FIELD_ENCRYPTION_KEYS, credentials) if credentials else ""
        )
    channel.full_clean()
    channel.save()
    if groups is not None:
        channel.groups.set(groups)
    if models is not None:
        channel.channel_models.exclude(model__in=models).delete()
        for model, upstream_name in models.items():
            ChannelModel.objects.update_or_create(
                channel=channel, model=model, defaults={"upstream_name": upstream_name}
            )
    touch_channel(channel=channel)
    return channel


@transaction.atomic
def touch_channel(*, channel: Channel) -> None:
    """Tell the relay that a channel, its groups or its models changed."""
    record_change(Kind.CHANNEL, channel.pk)


@transaction.atomic
def delete_channel(*, channel: Channel) -> None:
    """Delete a channel; records keep its number and name."""
    channel_id = channel.pk
    channel.delete()
    record_change(Kind.CHANNEL, channel_id)


@transaction.atomic
def set_channels_status(*, channels: Iterable[Channel], status: str) -> int:
    """Enable or disable channels. Returns how many changed."""
    changed = 0
    for channel in channels:
        if channel.status != status:
            channel.status = status
            channel.save(update_fields=["status"])
            touch_channel(channel=channel)
            changed += 1
    return changed


@transaction.atomic
def save_model(*, model: CatalogueModel) -> CatalogueModel:
    """Save a model of the catalogue. Raises ValidationError."""
    model.full_clean()
    model.save()
    record_change(Kind.MODEL, model.pk)
    return model


@transaction.atomic
def delete_model(*, model: CatalogueModel) -> None:
    """Delete a model, and with it its place on every channel; prices and records stay."""
    model_id = model.pk
    model.delete()
    record_change(Kind.MODEL, model_id)


@transaction.atomic
def save_group(*, group: ModelGroup, organizations: Iterable[Organization] | None = None) -> ModelGroup:
    """Save a model group; `organizations` replace those that may use it unless None. Raises ValidationError."""
    group.full_clean()
    group.save()
    if organizations is not None:
        group.organizations.set(organizations)
    record_change(Kind.GROUP, group.pk)
    return group


@transaction.atomic
def delete_group(*, group: ModelGroup) -> None:
    """Delete a group; keys that still name it are refused with 403."""
    group_id = group.pk
    group.delete()
    record_change(Kind.GROUP, group_id)


def default_group() -> ModelGroup:
    """The group that new keys and channels are in, made when first asked for."""
    existing = ModelGroup.objects.filter(name="default").first()
    return existing or save_group(group=ModelGroup(name="default", description="The standard group."))
