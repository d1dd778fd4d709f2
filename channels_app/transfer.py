"""Channels as a JSON document: from one installation to another, or from a file that is kept under version control.

    {"format": "costrouter.channels", "version": 1, "channels": [
        {"name": "Main", "provider": "openai", "base_url": "https://api.openai.com/v1", "status": "enabled",
         "groups": ["default"], "models": {"gpt-5-mini": ""}, "has_credentials": true, …}]}

A channel is known by its name. What an entry does not say stays as it is, or is the default of a new channel; a channel
that the document does not name is left alone. A model that is not in the catalogue is made, and refused to clients
until it has a price: prices are never touched. A group that is not there is refused: its rate and whom it is open to
are decisions about money, which a list of channels does not hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
from channels_app import services
from channels_app.models import CatalogueModel, Channel, ModelGroup
from channels_app.snapshot import channel_credentials
from costrouter.lib import crypto
from costrouter.lib.upstreams import KINDS, one_line

FORMAT, VERSION = "costrouter.channels", 1
MAX_CHANNELS = 1_000
MAX_BYTES = 4 * 1024 * 1024
# Columns of a channel that travel as they are; a decimal travels as text.
_PLAIN = (
    *("provider", "base_url", "dialects", "status", "priority", "weight", "cost_multiplier", "allow_private_addresses"),
    *("connect_timeout", "first_byte_timeout", "answer_timeout", "idle_timeout"),
)
_KNOWN = {"name", *_PLAIN, "groups", "models", "credentials", "has_credentials"}


@dataclass(frozen=True, slots=True)
class PlannedChannel:
    """What an import does to one channel. `action`: create, change or keep; `changes`: field → (before, after)."""

    name: str
    action: str
    changes: dict[str, tuple[Any, Any]]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class ImportPlan:
    """What an import does, or would do. `new_models` have no price yet, unless one was kept from before."""

    channels: list[PlannedChannel] = field(default_factory=list)
    new_models: list[str] = field(default_factory=list)
    applied: bool = False

    def count(self, action: str) -> int:
        """How many channels it does this to."""
        return sum(channel.action == action for channel in self.channels)


def export_channels(*, channels: Iterable[Channel], with_credentials: bool = False) -> dict[str, Any]:
    """The document of some channels. With their credentials in clear only where that is asked for, which is audited.

    Whoever calls it checks that the reader may have them: permission `channels_app.export_credentials`.
    Raises ValidationError for credentials that cannot be decrypted.
    """
    entries = []
    with transaction.atomic():
        for channel in channels:
            entry = {"name": channel.name, **_described(channel, _groups_of(channel), _models_of(channel))}
            entry["has_credentials"] = bool(channel.credentials_encrypted)
            if with_credentials and channel.credentials_encrypted:
                try:
                    entry["credentials"] = channel_credentials(channel)
                except crypto.CannotDecrypt as error:
                    raise ValidationError(f"{channel.name}: {error}.") from error
                audit.record("channel.exported", channel)
            entries.append(entry)
    return {"format": FORMAT, "version": VERSION, "channels": entries}


def read_document(text: bytes) -> dict[str, Any]:
    """A document from a file. Raises ValidationError for what is no JSON object."""
    if len(text) > MAX_BYTES:
        raise ValidationError(f"The file is larger than {MAX_BYTES // 1024 // 1024} MB.")
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"This is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValidationError("This is not an export of channels: it is no JSON object.")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def import_channels(*, document: Mapping[str, Any], dry_run: bool = False) -> ImportPlan:
    """Make the channels of a document, or change those of the same names; all of them, or none.

    `dry_run`: everything is done and checked, and then rolled back: what is shown is what would be.
    Raises ValidationError, with a message for each thing that is wrong.
    """
    entries = _entries(document)
    plan, problems = ImportPlan(applied=not dry_run), []
    with transaction.atomic():
        groups = {group.name: group for group in ModelGroup.objects.all()}
        models = {model.name: model for model in CatalogueModel.objects.all()}
        channels = {
            channel.name: channel
            for channel in Channel.objects.prefetch_related("groups", "channel_models__model").filter(
                name__in=[entry["name"] for entry in entries]
            )
        }
        for entry in entries:
            name = entry["name"]
            try:
                with transaction.atomic():
                    plan.channels.append(_place(entry, channels.get(name), groups, models, plan.new_models))
            except ValidationError as error:
                problems += [f"{name}: {message}" for message in _messages(error)]
        if problems:
            raise ValidationError(problems)
        if dry_run:
            transaction.set_rollback(True)
    return plan


def _entries(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of a document, each an object with a name of its own and known fields. Raises ValidationError."""
    if document.get("format") != FORMAT or document.get("version") != VERSION:
        raise ValidationError(f'This is not an export of channels: "format" must be {FORMAT}, "version" {VERSION}.')
    entries = document.get("channels")
    if not isinstance(entries, list) or not entries:
        raise ValidationError('"channels" must be a list with at least one channel.')
    if len(entries) > MAX_CHANNELS:
        raise ValidationError(f"More than {MAX_CHANNELS:,} channels at once.")
    if not _can_be_stored(entries):
        raise ValidationError("There are characters in it that a database cannot store.")
    problems: list[str] = []
    seen: set[str] = set()
    for number, entry in enumerate(entries, 1):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name or name != name.strip():
            problems.append(f"Channel {number} has no name, or one with spaces around it.")
            continue
        if name in seen:
            problems.append(f"{name}: it is there twice.")
        seen.add(name)
        problems += [f"{name}: unknown field {unknown}." for unknown in sorted(map(str, entry.keys() - _KNOWN))]
        problems += [f"{name}: {given} must not be null." for given, value in entry.items() if value is None]
    if problems:
        raise ValidationError(problems)
    return entries


def _can_be_stored(value: Any) -> bool:
    """Whether every database takes its texts: PostgreSQL has no NUL, UTF-8 no lone surrogate."""
    try:
        return rb"\u0000" not in json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, TypeError, ValueError):
        return False


def _place(
    entry: dict[str, Any],
    channel: Channel | None,
    groups: Mapping[str, ModelGroup],
    models: dict[str, CatalogueModel],
    new_models: list[str],
) -> PlannedChannel:
    """Make or change one channel. Raises ValidationError."""
    is_new, notes = channel is None, []
    before: dict[str, Any] = {}
    if channel is None:
        channel = Channel(name=entry["name"])
        chosen, served = [], {}
    else:
        chosen, served = _groups_of(channel), _models_of(channel)
        before = _described(channel, chosen, served)
    for name in _PLAIN:
        if name in entry:
            setattr(channel, name, entry[name])
    channel.clean_fields(exclude=["credentials_encrypted"])
    if not channel.base_url:
        channel.base_url = KINDS[channel.provider].base_url
    if "groups" in entry:
        chosen = _names(entry["groups"], "groups")
    if "models" in entry:
        served = _served(entry["models"])
    credentials = _credentials(entry, channel)
    if is_new and credentials is None and entry.get("has_credentials") is not False and channel.provider != "sandbox":
        if channel.status == Channel.Status.ENABLED:
            notes.append("Disabled until it has its credentials, which are not in this file.")
        channel.status = Channel.Status.DISABLED
    missing = sorted(name for name in chosen if name not in groups)
    if missing:
        raise ValidationError({"groups": f"There is no group {', '.join(missing)}: make it first, with its rate."})
    after = _described(channel, chosen, served)
    changes = {name: (before.get(name), value) for name, value in after.items() if before.get(name) != value}
    if credentials is not None:
        changes["credentials"] = ("stored" if channel.credentials_encrypted else "none", "replaced")
    if not is_new and not changes:
        return PlannedChannel(channel.name, "keep", {})
    for name in served:
        if name not in models:
            models[name] = services.save_model(model=CatalogueModel(name=name))
            new_models.append(name)
    services.save_channel(
        channel=channel,
        credentials=credentials,
        groups=[groups[name] for name in chosen] if is_new or "groups" in entry else None,
        models={models[name]: upstream for name, upstream in served.items()} if is_new or "models" in entry else None,
    )
    return PlannedChannel(channel.name, "create" if is_new else "change", changes, tuple(notes))


def _described(channel: Channel, groups: Iterable[str], models: Mapping[str, str]) -> dict[str, Any]:
    """A channel as an entry has it, without name and credentials."""
    plain = {name: getattr(channel, name) for name in _PLAIN}
    plain["cost_multiplier"] = f"{plain['cost_multiplier'].normalize():f}"
    return {**plain, "groups": sorted(groups), "models": dict(sorted(models.items()))}


def _groups_of(channel: Channel) -> list[str]:
    return [group.name for group in channel.groups.all()]


def _models_of(channel: Channel) -> dict[str, str]:
    return {place.model.name: place.upstream_name for place in channel.channel_models.all()}


def _names(value: Any, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValidationError({what: "It must be a list of names."})
    return list(dict.fromkeys(value))


def _served(value: Any) -> dict[str, str]:
    """Model → its name at the upstream ("" for the same), from an object or a list of names."""
    if isinstance(value, dict) and all(isinstance(upstream, str) for upstream in value.values()):
        return dict(value)
    if isinstance(value, list):
        return dict.fromkeys(_names(value, "models"), "")
    raise ValidationError({"models": "It must be an object: model → its name at the upstream."})


def _credentials(entry: Mapping[str, Any], channel: Channel) -> str | None:
    """The credentials to store; None where an entry has none, or those that are stored."""
    given = entry.get("credentials")
    if given is None:
        return None
    if not isinstance(given, str) or len(given) > 10_000:
        raise ValidationError({"credentials": "They must be a text of at most 10,000 characters."})
    try:
        return None if one_line(given) == channel_credentials(channel) else given
    except crypto.CannotDecrypt:
        return given


def _messages(error: ValidationError) -> list[str]:
    if not hasattr(error, "error_dict"):
        return error.messages
    return [
        message if name in ("__all__", "groups", "credentials") else f"{name}: {message}"
        for name, messages in error.message_dict.items()
        for message in messages
    ]
