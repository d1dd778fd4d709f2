"""Who did what: services record it in the transaction that does it, for whoever is acting.

Who acts is ambient. `costrouter.middleware.Acting` says it for every page and API request, so that no service needs to
be told; where nobody says it, it is a command. A service calls `record` once for each thing it changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import AuditEntry, Organization, User

Via = AuditEntry.Via

# THE table of actions: what it is called for people.
ACTIONS: dict[str, Any] = {
    "api_key.created": _("API key created"),
    "api_key.changed": _("API key changed"),
    "api_key.rotated": _("API key rotated"),
    "api_key.enabled": _("API key enabled"),
    "api_key.disabled": _("API key disabled"),
    "api_key.deleted": _("API key deleted"),
    "access_token.created": _("Access token created"),
    "access_token.deleted": _("Access token deleted"),
    "user.created": _("User created"),
    "user.changed": _("User changed"),
    "role.created": _("Operator role made"),
    "role.changed": _("Operator role changed"),
    "role.deleted": _("Operator role deleted"),
    "organization.created": _("Organization created"),
    "organization.changed": _("Organization changed"),
    "organization.suspended": _("Organization suspended"),
    "organization.activated": _("Organization brought back"),
    "member.invited": _("Member invited"),
    "member.invitation_deleted": _("Invitation withdrawn"),
    "member.joined": _("Member joined"),
    "member.changed": _("Member's role changed"),
    "member.removed": _("Member removed"),
    "channel.created": _("Channel created"),
    "channel.changed": _("Channel changed"),
    "channel.enabled": _("Channel enabled"),
    "channel.disabled": _("Channel disabled"),
    "channel.deleted": _("Channel deleted"),
    "channel.exported": _("Channel's credentials exported"),
    "model.created": _("Model created"),
    "model.changed": _("Model changed"),
    "model.deleted": _("Model deleted"),
    "group.created": _("Model group created"),
    "group.changed": _("Model group changed"),
    "group.deleted": _("Model group deleted"),
    "price.added": _("Price added"),
    "budget.created": _("Budget created"),
    "budget.changed": _("Budget changed"),
    "budget.deleted": _("Budget deleted"),
    "wallet.moved": _("Wallet credited or debited"),
    "wallet.credit_limit": _("Credit limit changed"),
    "wallet.redeemed": _("Redemption code redeemed"),
    "redemption.created": _("Redemption codes made"),
    "redemption.changed": _("Redemption batch changed"),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, through what, from which address."""

    user: User | None = None
    via: str = Via.COMMAND
    client_ip: str = ""


_COMMAND = Actor()
_actor: ContextVar[Actor] = ContextVar("actor", default=_COMMAND)


@contextmanager
def acting(*, user: User | None, via: str, client_ip: str = "") -> Iterator[None]:
    """Everything that is recorded within is by this user."""
    token = _actor.set(Actor(user, via, client_ip))
    try:
        yield
    finally:
        _actor.reset(token)


def current() -> Actor:
    """Who acts now."""
    return _actor.get()


def record(
    action: str,
    obj: models.Model | None = None,
    *,
    organization: Organization | int | None = None,
    kind: str = "",
    object_id: object = "",
    name: str = "",
    changes: Mapping[str, tuple[Any, Any]] | None = None,
) -> None:
    """Write one entry, in the transaction under way. `changes`: field → (before, after), without secrets."""
    actor = current()
    assert action in ACTIONS, action
    AuditEntry.objects.create(
        organization_id=organization.pk if isinstance(organization, Organization) else organization,
        actor=actor.user,
        actor_name=actor.user.email if actor.user is not None else "",
        via=actor.via,
        client_ip=actor.client_ip,
        action=action,
        object_kind=kind or action.partition(".")[0],
        object_id=str(object_id or (obj.pk if obj is not None else "")),
        object_name=(name or (str(obj) if obj is not None else ""))[:300],
        changes={field: [_plain(before), _plain(after)] for field, (before, after) in (changes or {}).items()},
    )


def record_saved(
    kind: str,
    obj: models.Model,
    *,
    is_new: bool,
    changes: Mapping[str, tuple[Any, Any]],
    organization: Organization | int | None = None,
) -> None:
    """The entry of a save: `<kind>.created`, else `<kind>.changed`; none where nothing changed."""
    if is_new or changes:
        action = f"{kind}.{'created' if is_new else 'changed'}"
        record(action, obj, organization=organization, changes=changes)


def given_fields(obj: models.Model, *names: str) -> dict[str, tuple[Any, Any]]:
    """What a new object was given of these fields: field → (None, value); without what was left empty."""
    values = {name: getattr(obj, obj._meta.get_field(name).attname) for name in names}  # type: ignore[union-attr]
    return {name: (None, value) for name, value in values.items() if value not in (None, "", [])}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two sets of values: name → (before, after), None where one has nothing of that name."""
    names = [*before, *(name for name in after if name not in before)]
    pairs = {name: (before.get(name) or None, after.get(name) or None) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def changed_fields(obj: models.Model, *, leave_out: Iterable[str] = ()) -> dict[str, tuple[Any, Any]]:
    """What a save of `obj` would change: field → (stored, new). Call it before the save; empty for a new object."""
    if obj.pk is None:
        return {}
    stored = obj._meta.model._base_manager.filter(pk=obj.pk).first()
    if stored is None:
        return {}
    skipped = {*leave_out, "password", "digest", "previous_digest", "credentials_encrypted", "last_login"}
    found = {}
    for field in obj._meta.concrete_fields:
        before, after = getattr(stored, field.attname), getattr(obj, field.attname)
        if field.name not in skipped and before != after:
            # A related object goes by its name: its number says nothing to people.
            found[field.name] = (getattr(stored, field.name), getattr(obj, field.name))
    if "credentials_encrypted" in {field.name for field in obj._meta.concrete_fields}:
        before, after = stored.credentials_encrypted, obj.credentials_encrypted  # type: ignore[attr-defined]
        if before != after:
            found["credentials"] = ("set" if before else "none", "replaced" if after else "none")
    return found


def _plain(value: Any) -> Any:
    """A value as JSON keeps it."""
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return str(value)
