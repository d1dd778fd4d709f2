"""Which channels may serve a request, and in which order they are tried."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.selectors import KeyInfo
from channels_app.snapshot import ChannelInfo, GroupInfo, ModelInfo, RoutingSnapshot
from relay.errors import RelayError


@dataclass(frozen=True, slots=True)
class Route:
    """A model for a key: what it is, at which group's rate, through which channels."""

    model: ModelInfo
    group: GroupInfo
    channels: tuple[ChannelInfo, ...]


def group_of(key: KeyInfo, snapshot: RoutingSnapshot) -> GroupInfo:
    """The group of a key. Raises `group_not_allowed`."""
    group = snapshot.group_by_name.get(key.group)
    if group is None or not group.admits(key.organization_id):
        raise RelayError("group_not_allowed", f"This API key may not use the group {key.group}.")
    return group


def resolve(model_name: str, key: KeyInfo, snapshot: RoutingSnapshot) -> Route:
    """Where a key's request for a model may go.

    Raises `model_not_found` where nobody here serves it, `model_not_allowed` where somebody does but not for this key,
    `no_channel` where all who do are switched off.
    """
    serving = snapshot.by_model.get(model_name, ())
    model = snapshot.model_by_name.get(model_name)
    if not serving or model is None:
        raise RelayError(
            "model_not_found", f"The model {model_name!r} does not exist or is not served here.", param="model"
        )
    group = group_of(key, snapshot)
    if key.allowed_models and model_name not in key.allowed_models:
        raise RelayError("model_not_allowed", f"This API key may not use the model {model_name}.", param="model")
    in_group = [channel for channel in serving if group.name in channel.groups]
    if not in_group:
        raise RelayError(
            "model_not_allowed", f"The model {model_name} is not in this API key's group {group.name}.", param="model"
        )
    enabled = tuple(channel for channel in in_group if channel.enabled)
    if not enabled:
        raise RelayError("no_channel", f"No channel is available for the model {model_name} now.")
    return Route(model, group, enabled)


def visible_models(key: KeyInfo, snapshot: RoutingSnapshot) -> list[ModelInfo]:
    """The models that a key may use now, by name."""
    group = group_of(key, snapshot)
    return [
        snapshot.model_by_name[name]
        for name, channels in sorted(snapshot.by_model.items())
        if name in snapshot.model_by_name
        and (not key.allowed_models or name in key.allowed_models)
        and any(group.name in channel.groups and channel.enabled for channel in channels)
    ]
