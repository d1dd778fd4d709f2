"""Who looks at the pages, what their addresses are filled with, and the rows that only people make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Count
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver, reverse

from accounts.models import ApiKey, AuditEntry, Invitation, Membership, Organization, User
from billing.models import Budget, Hold, LedgerEntry, Price, RefusalTally, UsageRecord
from billing.redemption import create_batch
from channels_app.models import CatalogueModel, Channel, ModelGroup
from channels_app.services import set_channels_status
from tests.benchmarks.pages_left import ADMIN_ALSO, ALSO, LEFT_OUT


@dataclass
class People:
    """The largest organization's owner, a plain member of it, and the operator. `values`: URL parameter → a value."""

    owner: Client
    member: Client
    operator: Client
    values: dict[str, Any]

    def pages(self, unknown: list[str]) -> Iterator[tuple[str, str, Client]]:
        """(name, address, who looks) of everything; names whose parameters have no value go to `unknown`."""
        for name, parameters in _names(get_resolver()):
            if name in LEFT_OUT or name.startswith(("admin:", "github_", "google_")):  # unless they are set up
                continue
            who = self.operator if self._is_operators(name) else self.owner
            try:
                url = reverse(name, kwargs={parameter: self._value(name, parameter) for parameter in parameters})
            except (NoReverseMatch, KeyError):
                unknown.append(name)
                continue
            yield name, url, who
            for query in ALSO.get(name, ()):
                yield name, f"{url}?{query}", who
            if name in ("console:overview", "console:logs", "console:keys"):
                yield name, f"{url}?as=member", self.member
        yield from self._admin()

    def _is_operators(self, name: str) -> bool:
        if not name.startswith("api:"):
            return False
        return "/operator/" in (_pattern_of(name) or "")

    def _value(self, name: str, parameter: str) -> Any:
        if f"{name} {parameter}" in self.values:
            return self.values[f"{name} {parameter}"]
        return self.values[parameter]

    def _admin(self) -> Iterator[tuple[str, str, Client]]:
        yield "admin:index", "/admin/", self.operator
        for model in admin.site._registry:
            base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            name = f"admin:{model._meta.model_name}"
            yield name, base, self.operator
            yield name, f"{base}?q=seed", self.operator
            for query in ADMIN_ALSO.get(str(model._meta.model_name), ()):
                yield name, f"{base}?{query}", self.operator
            first = model._default_manager.order_by("-pk").first()
            if first is not None:
                yield name, f"{base}{first.pk}/change/", self.operator
            if model in (Organization, User):
                yield name, f"{base}{self.values[model._meta.model_name]}/change/", self.operator


def _names(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Every named URL with its parameters."""
    for found in resolver.url_patterns:
        if isinstance(found, URLResolver):
            yield from _names(found, f"{prefix}{found.namespace}:" if found.namespace else prefix)
        elif isinstance(found, URLPattern) and found.name:
            parameters = list(found.pattern.converters) or list(found.pattern.regex.groupindex)
            yield f"{prefix}{found.name}", parameters


def _pattern_of(name: str) -> str | None:
    resolver: Any = get_resolver()
    for part in name.split(":")[:-1]:
        _prefix, resolver = resolver.namespace_dict[part]
    found = resolver.reverse_dict.getlist(name.split(":")[-1])
    return f"/{found[0][0][0][0]}" if found else None


def cast() -> People:
    """The people, signed in; and what they did: audit entries, budgets, codes, invitations."""
    largest = Organization.objects.annotate(keys=Count("api_keys")).order_by("-keys").first()
    assert largest is not None
    owner = largest.memberships.get(role=Membership.Role.OWNER).user
    key = largest.api_keys.order_by("pk").first()
    assert key is not None
    member = largest.api_keys.exclude(user=owner).order_by("pk")[0].user
    operator = User.objects.create_superuser("operator@seed.example", "x")
    set_channels_status(channels=Channel.objects.all(), status=Channel.Status.ENABLED)
    batch = create_batch(name="Seeded", amount_nanos=5_000_000_000, count=2_000, actor=operator)
    _rows_of_people(largest, owner, operator)
    record = UsageRecord.objects.filter(api_key=key, status="ok").order_by("-request_id")[0]
    entry = LedgerEntry.objects.filter(wallet_id=largest.pk).order_by("-pk")[0]
    month = datetime.now(UTC).date().replace(day=1)
    model = record.model
    values: dict[str, Any] = {
        "key_id": key.pk,
        "request_id": record.pk,
        "entry_id": entry.pk,
        "asked": month,
        "api:statement month": _api_month(month),
        "model": model,
        "console:model name": model,
        "reference:endpoint name": "chat.completions",
        "user_id": member.pk,
        "invitation_id": Invitation.objects.get().pk,
        "channel_id": Channel.objects.order_by("pk")[0].pk,
        "group_id": ModelGroup.objects.order_by("pk")[0].pk,
        "model_id": CatalogueModel.objects.order_by("pk")[0].pk,
        "price_id": Price.objects.order_by("pk")[0].pk,
        "organization_id": largest.pk,
        "batch_id": batch.pk,
        "organization": largest.pk,
        "user": owner.pk,
    }
    return People(_signed_in(owner, largest), _signed_in(member, largest), _signed_in(operator, largest), values)


def _api_month(month: date) -> Any:
    return month if _accepts(month) else f"{month:%Y-%m}"


def _accepts(month: date) -> bool:
    try:
        reverse("api:statement", kwargs={"month": month})
    except (NoReverseMatch, TypeError, ValueError):
        return False
    return True


def _signed_in(user: User, organization: Organization) -> Client:
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    session = client.session
    session["organization"] = organization.pk
    session.save()
    return client


def _rows_of_people(organization: Organization, owner: User, operator: User) -> None:
    now = datetime.now(UTC)
    everyone = list(Organization.objects.values_list("pk", flat=True))
    actions = ("api_key.created", "api_key.changed", "wallet.moved", "channel.changed", "member.joined")
    AuditEntry.objects.bulk_create(
        (
            AuditEntry(
                at=now - timedelta(minutes=20_000 - number),
                organization_id=everyone[number % len(everyone)] if number % 3 else organization.pk,
                actor=owner if number % 2 else operator,
                actor_name=owner.email,
                action=actions[number % len(actions)],
                object_kind=actions[number % len(actions)].partition(".")[0],
                object_id=str(number % 500),
                object_name=f"thing {number % 500}",
                changes={"name": ["before", "after"]},
            )
            for number in range(20_000)
        ),
        batch_size=2_000,
    )
    keys = list(ApiKey.objects.filter(organization=organization).order_by("pk")[:40])
    Budget.objects.bulk_create(
        [Budget(organization=organization, limit_nanos=10**12)]
        + [Budget(organization=organization, api_key=key, limit_nanos=10**11, window="month") for key in keys]
    )
    Hold.objects.bulk_create(
        Hold(request_id=f"req_open_{number:04}", wallet_id=organization.pk, amount_nanos=1_000, endpoint="messages")
        for number in range(200)
    )
    RefusalTally.objects.bulk_create(
        RefusalTally(
            api_key=keys[0],
            organization=organization,
            minute=now.replace(second=0, microsecond=0) - timedelta(minutes=number),
            error_code="rate_limit_exceeded",
            count=40,
        )
        for number in range(2_000)
    )
    Invitation.objects.create(
        organization=organization, email="new@seed.example", digest="0" * 64, expires_at=now + timedelta(days=3)
    )
