"""API keys as members handle them: a key, its model group and its spending limit as one thing.

The console's pages and the management API both write keys through here. Every function checks what the member's role
allows, and writes the key and its budget in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import selectors, services
from accounts.models import ApiKey, Membership
from accounts.permissions import allows
from billing import services as billing
from billing.models import Budget
from billing.selectors import current_prices
from channels_app.models import CatalogueModel, ModelGroup


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Everything about a key that its owner decides. `limit_nanos` None: no spending limit of its own."""

    name: str
    group: str = "default"
    allowed_models: tuple[str, ...] = ()
    allowed_ips: tuple[str, ...] = ()
    expires_at: datetime | None = None
    limit_nanos: int | None = None
    window: str = Budget.Window.TOTAL
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None


@dataclass(frozen=True, slots=True)
class GroupChoice:
    """A model group that an organization may use, with the models that its channels serve, by name."""

    name: str
    description: str
    rate: Decimal
    models: tuple[str, ...]


def usable_groups(organization_id: int) -> list[GroupChoice]:
    """The model groups that admit an organization, by name. Two queries."""
    groups = ModelGroup.objects.filter(Q(is_public=True) | Q(organizations=organization_id)).distinct().order_by("name")
    found = list(groups)
    served: dict[str, list[str]] = {group.name: [] for group in found}
    pairs = (
        CatalogueModel.objects.filter(channels__groups__in=[group.pk for group in found])
        .values_list("channels__groups__name", "name")
        .order_by("name")
        .distinct()
    )
    for group_name, model_name in pairs:
        if group_name in served:
            served[group_name].append(model_name)
    return [GroupChoice(group.name, group.description, group.rate, tuple(served[group.name])) for group in found]


def chat_model(names: Iterable[str]) -> str:
    """The first of these models that is charged by input and output tokens, as those that chat are; "" for none."""
    wanted = list(names)
    prices = current_prices(model_names=wanted)
    return next((name for name in wanted if name in prices and {"input", "output"} <= prices[name].units.keys()), "")


def spec_of(key: ApiKey) -> KeySpec:
    """A key as it is now. Where an operator gave it several budgets, the limit is the first of them."""
    budget = _budget_of(key)
    return KeySpec(
        name=key.name,
        group=key.group,
        allowed_models=tuple(key.allowed_models),
        allowed_ips=tuple(key.allowed_ips),
        expires_at=key.expires_at,
        limit_nanos=budget.limit_nanos if budget is not None else None,
        window=budget.window if budget is not None else Budget.Window.TOTAL,
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        concurrent_requests=key.concurrent_requests,
    )


def find_key(*, member: Membership, key_id: int) -> ApiKey | None:
    """A key that a member may see and change; None for anybody else's, a deleted one, or none at all."""
    rows = selectors.api_keys(selectors.reach_of(member, "keys.all"))
    return rows.select_related("user", "organization").filter(pk=key_id).first()


@transaction.atomic
def create_key(*, member: Membership, spec: KeySpec) -> tuple[ApiKey, str]:
    """A new key of the member's own, and its secret, which exists nowhere else. Raises ValidationError."""
    if not allows(member.role, "keys.own"):
        raise PermissionDenied
    _check(spec, organization_id=member.organization_id)
    key, secret = services.create_api_key(
        organization=member.organization,
        user=member.user,
        name=spec.name.strip(),
        expires_at=spec.expires_at,
        allowed_models=_once(spec.allowed_models),
        allowed_ips=_once(spec.allowed_ips),
        group=spec.group,
        requests_per_minute=spec.requests_per_minute,
        tokens_per_minute=spec.tokens_per_minute,
        concurrent_requests=spec.concurrent_requests,
    )
    _set_limit(key, spec)
    return key, secret


@transaction.atomic
def change_key(*, member: Membership, key: ApiKey, spec: KeySpec) -> ApiKey:
    """Make a key what `spec` says; it is in force within a second. Raises ValidationError, PermissionDenied."""
    locked = _locked(member, key)
    _check(spec, organization_id=locked.organization_id, before=spec_of(locked))
    locked.name = spec.name.strip()
    locked.group = spec.group
    locked.allowed_models = _once(spec.allowed_models)
    locked.allowed_ips = _once(spec.allowed_ips)
    locked.expires_at = spec.expires_at
    locked.requests_per_minute = spec.requests_per_minute
    locked.tokens_per_minute = spec.tokens_per_minute
    locked.concurrent_requests = spec.concurrent_requests
    services.save_api_key(key=locked)
    _set_limit(locked, spec)
    return locked


@transaction.atomic
def rotate_key(*, member: Membership, key: ApiKey, overlap: timedelta) -> str:
    """A new secret for a key; the old one works for `overlap` longer, at most seven days. Returns the new secret.

    Raises ValidationError, PermissionDenied.
    """
    return services.rotate_api_key(key=_locked(member, key), overlap=overlap)


@transaction.atomic
def set_key_enabled(*, member: Membership, key: ApiKey, enabled: bool) -> bool:
    """Enable or disable a key. Whether that changed anything.

    Raises PermissionDenied, and ValidationError for the key of somebody who has left: they still know its secret.
    """
    locked = _locked(member, key)
    changed = services.set_api_keys_enabled(keys=[locked], enabled=enabled) > 0
    if enabled and not changed and not locked.enabled:
        raise ValidationError(_("Its owner is no longer a member: make a new key instead."))
    return changed


@transaction.atomic
def delete_key(*, member: Membership, key: ApiKey) -> None:
    """Delete a key with its budgets; its records keep its name. Raises PermissionDenied."""
    locked = _locked(member, key)
    for budget in Budget.objects.filter(api_key=locked):
        billing.delete_budget(budget=budget)
    services.delete_api_key(key=locked)


def _locked(member: Membership, key: ApiKey) -> ApiKey:
    """The key, read again and locked until the transaction ends. Raises PermissionDenied beyond the member's reach."""
    reach = selectors.reach_of(member, "keys.all")
    found = selectors.api_keys(reach).select_for_update().filter(pk=key.pk).first()
    if found is None:
        raise PermissionDenied
    return found


def _check(spec: KeySpec, *, organization_id: int, before: KeySpec | None = None) -> None:
    """Refuse what would only fail at the first request. What a key has already may stay. Raises ValidationError."""
    problems: dict[str, str] = {}
    if not spec.name.strip():
        problems["name"] = _("Give the key a name.")
    is_new = before is None or before.expires_at != spec.expires_at
    if is_new and spec.expires_at is not None and spec.expires_at <= timezone.now():
        problems["expires_at"] = _("That is in the past.")
    if spec.limit_nanos is not None and spec.window not in Budget.Window.values:
        problems["window"] = _("A limit is for a day, a week, a month, or in all.")
    group = next((group for group in usable_groups(organization_id) if group.name == spec.group), None)
    if group is None:
        if before is None or before.group != spec.group:
            problems["group"] = _("There is no such model group for this organization.")
    else:
        kept = set(before.allowed_models) if before is not None and before.group == spec.group else set()
        missing = sorted(set(spec.allowed_models) - set(group.models) - kept)
        if missing:
            problems["allowed_models"] = _("Not available in the group “%(group)s”: %(models)s.") % {
                "group": group.name,
                "models": ", ".join(missing),
            }
    if problems:
        raise ValidationError(problems)


def _once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(value.strip() for value in values if value.strip()))


def _budget_of(key: ApiKey) -> Budget | None:
    return Budget.objects.filter(api_key=key).order_by("pk").first()


def _set_limit(key: ApiKey, spec: KeySpec) -> None:
    """Give the key the one budget that its spec asks for, or none. Raises ValidationError."""
    budget = _budget_of(key)
    if spec.limit_nanos is None:
        if budget is not None:
            billing.delete_budget(budget=budget)
        return
    if budget is None:
        budget = Budget(organization_id=key.organization_id, api_key=key)
    elif (budget.limit_nanos, budget.window) == (spec.limit_nanos, spec.window):
        return
    budget.limit_nanos, budget.window = spec.limit_nanos, spec.window
    billing.save_budget(budget=budget)
