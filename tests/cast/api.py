"""The cast of the management API's tests: Acme with one of everything, Globex with nothing, and an operator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts import services
from accounts.models import ApiKey, Invitation, Membership, Organization, PersonalAccessToken, User
from accounts.permissions import SCOPES
from billing.models import LedgerEntry, RedemptionBatch, UsageRecord
from billing.redemption import create_batch
from billing.services import add_entry, append_price, wallet_of
from channels_app.models import CatalogueModel, Channel, ModelGroup
from channels_app.services import default_group, save_channel, save_model
from costrouter.lib import ids

USD = 1_000_000_000


@dataclass
class Cast:
    """Alice owns Acme, Bob administers it, Carol is a member with a key; Mallory owns Globex; Olga is the operator."""

    alice: User
    bob: User
    carol: User
    mallory: User
    olga: User
    acme: Organization
    globex: Organization
    key: ApiKey
    carols_key: ApiKey
    record: UsageRecord
    entry: LedgerEntry
    invitation: Invitation
    token: PersonalAccessToken
    group: ModelGroup
    model: CatalogueModel
    channel: Channel
    price_id: int
    batch: RedemptionBatch

    def ids(self) -> dict[str, Any]:
        """What the parameters of paths may be: those of Acme, or of the site."""
        return {
            "key_id": self.key.pk,
            "request_id": self.record.pk,
            "entry_id": self.entry.pk,
            "user_id": self.carol.pk,
            "invitation_id": self.invitation.pk,
            "token_id": self.token.pk,
            "organization_id": self.acme.pk,
            "channel_id": self.channel.pk,
            "group_id": self.group.pk,
            "model_id": self.model.pk,
            "price_id": self.price_id,
            "batch_id": self.batch.pk,
            "model": self.model.name,
            "month": f"{timezone.now():%Y-%m}",
        }


def cast() -> Cast:
    cache.clear()
    people = {}
    for name in ("Alice", "Bob", "Carol", "Mallory"):
        people[name] = services.create_user(email=f"{name.lower()}@example.com", password="a-long-password", name=name)
    alice, bob, carol, mallory = people.values()
    olga = User.objects.create_superuser("olga@example.com", "a-long-password")
    acme = services.create_organization(name="Acme", owner=alice)
    globex = services.create_organization(name="Globex", owner=mallory)
    for user, role in ((bob, "admin"), (carol, "member")):
        Membership.objects.create(user=user, organization=acme, role=role)
    group = default_group()
    model = save_model(model=CatalogueModel(name="gpt-small", context_window=128_000))
    price = append_price(model_name="gpt-small", units={"input": "0.15", "output": "0.6"})
    channel = save_channel(
        channel=Channel(name="Main", provider="openai_compatible", base_url="https://upstream.example/v1"),
        credentials="sk-upstream-0123456789abcdef",
        groups=[group],
        models={model: "gpt-small-upstream"},
    )
    key, _ = services.create_api_key(organization=acme, user=alice, name="server")
    carols_key, _ = services.create_api_key(organization=acme, user=carol, name="laptop")
    wallet = wallet_of(organization=acme)
    add_entry(wallet=wallet, kind="credit", amount_nanos=10 * USD, idempotency_key="cast:1", note="Welcome")
    invitation = services.invite(
        member=Membership.objects.get(user=alice, organization=acme),
        email="dave@example.com",
        role="member",
        site_url="https://relay.example",
    )
    return Cast(
        alice=alice,
        bob=bob,
        carol=carol,
        mallory=mallory,
        olga=olga,
        acme=acme,
        globex=globex,
        key=key,
        carols_key=carols_key,
        record=new_record(acme, key),
        entry=LedgerEntry.objects.get(),
        invitation=invitation,
        token=new_token(alice, acme)[0],
        group=group,
        model=model,
        channel=channel,
        price_id=price.pk,
        batch=create_batch(name="Launch", amount_nanos=10 * USD, count=2),
    )


def new_record(organization: Organization, key: ApiKey, **given: Any) -> UsageRecord:
    """A request of a key: 1,000 tokens in, 500 out, at 0.15 and 0.6 USD a million."""
    values: dict[str, Any] = {
        "request_id": ids.request_id(),
        "organization": organization,
        "user": key.user,
        "api_key": key,
        "endpoint": "chat_completions",
        "model": "gpt-small",
        "group": "default",
        "channel": "Main",
        "status": "ok",
        "http_status": 200,
        "units": {"input": 1000, "output": 500},
        "lines": [
            {"unit": "input", "quantity": 1000, "price": "0.15", "per": 1_000_000},
            {"unit": "output", "quantity": 500, "price": "0.6", "per": 1_000_000},
        ],
        "cost_nanos": 450_000,
        "first_byte_ms": 120,
        "duration_ms": 900,
        "client_ip": "203.0.113.9",
    }
    return UsageRecord.objects.create(**{**values, **given})


def new_token(user: User, organization: Organization, *scopes: str) -> tuple[PersonalAccessToken, str]:
    """A token and its secret; without scopes it has all that the user may give."""
    chosen = scopes or [scope for scope in SCOPES if user.is_staff or not scope.startswith("operator:")]
    member = Membership.objects.get(user=user, organization=organization)
    expires_at = timezone.now() + timedelta(days=30)
    return services.create_access_token(member=member, name="ci", scopes=chosen, expires_at=expires_at)


class Api(Client):
    """A client of `/api/v1/`: by token, by session, or anonymous. Bodies are JSON."""

    def __init__(self, *, token: str = "", user: User | None = None) -> None:
        super().__init__()
        if token:
            self.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        if user is not None:
            self.force_login(user)

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        options = {"data": body, "content_type": "application/json"} if body is not None else {}
        return getattr(self, method.lower())(f"/api/v1/{path}", query_params=query, **options)


def by_token(user: User, organization: Organization, *scopes: str) -> Api:
    return Api(token=new_token(user, organization, *scopes)[1])


def by_session(user: User, organization: Organization | None = None) -> Api:
    """Signed in, in this organization."""
    client = Api(user=user)
    if organization is not None:
        session = client.session
        session["organization"] = organization.pk
        session.save()
    return client


def error(response: Any) -> tuple[int, str]:
    """(status, code), having looked that the error has its shape."""
    body = response.json()
    assert set(body) == {"error"}
    assert {"code", "message"} <= set(body["error"]) <= {"code", "message", "fields"}
    assert body["error"]["message"]
    assert response["Content-Type"] == "application/json"
    return response.status_code, body["error"]["code"]
