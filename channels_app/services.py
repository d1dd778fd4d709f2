"""Writes of the channels app. Each runs in one transaction and numbers what the relay must notice."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
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
    Stored credentials stay with the provider and host they were given for: another one needs its own. Raises
    ValidationError, e.g. for a private address without the permission, or a dialect its provider does not speak.
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
    if credentials is None and channel.credentials_encrypted and _leads_elsewhere(channel):
        raise ValidationError(
            {"credentials": "Give them again: those that are stored were for another provider or host."}
        )
    if credentials is not None:
        credentials = one_line(credentials)
        if problem := credentials_problem(channel.provider, credentials):
            raise ValidationError({"credentials": f"The {problem}."})
        channel.credentials_encrypted = (
            crypto.encrypt(settings.FIELD_ENCRYPTION_KEYS, credentials) if credentials else ""
        )
    channel.full_clean()
    is_new = channel.pk is None
    changes = audit.given_fields(channel, "provider", "base_url") if is_new else audit.changed_fields(channel)
    before = {} if is_new else _served(channel)
    channel.save()
    if groups is not None:
        channel.groups.set(groups)
    if models is not None:
        channel.channel_models.exclude(model__in=models).delete()
        for model, upstream_name in models.items():
            ChannelModel.objects.update_or_create(
                channel=channel, model=model, defaults={"upstream_name": upstream_name}
            )
    changes |= audit.differences(before, _served(channel))
    audit.record_saved("channel", channel, is_new=is_new, changes=changes)
    touch_channel(channel=channel)
    return channel


def _leads_elsewhere(channel: Channel) -> bool:
    """Whether a stored channel is to ask another provider or host than it did: its credentials are not for that one."""
    stored = Channel.objects.filter(pk=channel.pk).first()
    if stored is None:
        return False
    return (stored.provider, _origin(stored.base_url)) != (channel.provider, _origin(channel.base_url))


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


def _served(channel: Channel) -> dict[str, object]:
    """A channel's groups and models, for the audit log: models by their upstream name where it is another."""
    rows = channel.channel_models.values_list("model__name", "upstream_name")
    return {
        "groups": list(channel.groups.values_list("name", flat=True)),
        "models": [f"{name} as {upstream}" if upstream else name for name, upstream in rows],
    }


@transaction.atomic
def change_channel_models(
    *, channel: Channel, saved: Iterable[ChannelModel] = (), removed: Iterable[ChannelModel] = ()
) -> None:
    """Save and remove what a channel serves, together."""
    before = _served(channel)
    for row in removed:
        row.delete()
    for row in saved:
        row.save()
    if changes := audit.differences(before, _served(channel)):
        audit.record("channel.changed", channel, changes=changes)
        touch_channel(channel=channel)


@transaction.atomic
def touch_channel(*, channel: Channel) -> None:
    """Tell the relay that a channel, its groups or its models changed."""
    record_change(Kind.CHANNEL, channel.pk)


@transaction.atomic
def clone_channel(*, channel: Channel, name: str = "") -> Channel:
    """A disabled copy of a channel, with its credentials, groups and models. Its name is `name`, or "NAME (copy)".

    Raises ValidationError, e.g. for a name that is taken.
    """
    values = {
        field.attname: getattr(channel, field.attname)
        for field in Channel._meta.concrete_fields
        if field.attname not in ("id", "name", "status", "created_at")
    }
    copy = Channel(**values, name=name.strip() or _free_name(channel.name), status=Channel.Status.DISABLED)
    models = {place.model: place.upstream_name for place in channel.channel_models.select_related("model")}
    return save_channel(channel=copy, groups=channel.groups.all(), models=models)


def _free_name(name: str) -> str:
    """A name for a copy that no channel has, within the column's length."""
    longest = Channel._meta.get_field("name").max_length or 100
    for number in itertools.count(1):
        ending = " (copy)" if number == 1 else f" (copy {number})"
        found = name[: longest - len(ending)] + ending
        if not Channel.objects.filter(name=found).exists():
            return found
    raise AssertionError


@transaction.atomic
def delete_channel(*, channel: Channel) -> None:
    """Delete a channel; records keep its number and name."""
    channel_id = channel.pk
    audit.record("channel.deleted", channel)
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
            audit.record("channel.enabled" if status == Channel.Status.ENABLED else "channel.disabled", channel)
            touch_channel(channel=channel)
            changed += 1
    return changed


@transaction.atomic
def save_model(*, model: CatalogueModel) -> CatalogueModel:
    """Save a model of the catalogue. Raises ValidationError."""
    model.full_clean()
    is_new, changes = model.pk is None, audit.changed_fields(model)
    model.save()
    audit.record_saved("model", model, is_new=is_new, changes=changes)
    record_change(Kind.MODEL, model.pk)
    return model


@transaction.atomic
def models_named(*, names: Iterable[str]) -> dict[str, CatalogueModel]:
    """Models by name; those that the catalogue does not have are made, without a price. Raises ValidationError."""
    wanted = list(dict.fromkeys(names))
    found = {model.name: model for model in CatalogueModel.objects.filter(name__in=wanted)}
    return {name: found[name] if name in found else save_model(model=CatalogueModel(name=name)) for name in wanted}


@transaction.atomic
def delete_model(*, model: CatalogueModel) -> None:
    """Delete a model, and with it its place on every channel; prices and records stay."""
    model_id = model.pk
    audit.record("model.deleted", model)
    model.delete()
    record_change(Kind.MODEL, model_id)


@transaction.atomic
def save_group(*, group: ModelGroup, organizations: Iterable[Organization] | None = None) -> ModelGroup:
    """Save a model group; `organizations` replace those that may use it unless None. Raises ValidationError."""
    group.full_clean()
    is_new = group.pk is None
    changes = audit.given_fields(group, "rate", "is_public") if is_new else audit.changed_fields(group)
    before = {} if is_new else _open_to(group)
    group.save()
    if organizations is not None:
        group.organizations.set(organizations)
    changes |= audit.differences(before, _open_to(group))
    audit.record_saved("group", group, is_new=is_new, changes=changes)
    record_change(Kind.GROUP, group.pk)
    return group


def _open_to(group: ModelGroup) -> dict[str, object]:
    return {"organizations": list(group.organizations.values_list("name", flat=True))}


@transaction.atomic
def delete_group(*, group: ModelGroup) -> None:
    """Delete a group; keys that still name it are refused with 403."""
    group_id = group.pk
    audit.record("group.deleted", group)
    group.delete()
    record_change(Kind.GROUP, group_id)


def default_group() -> ModelGroup:
    """The group that new keys and channels are in, made when first asked for."""
    existing = ModelGroup.objects.filter(name="default").first()
    return existing or save_group(group=ModelGroup(name="default", description="The standard group."))
