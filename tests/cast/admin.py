"""The cast of the admin's tests: an operator who may do everything, staff who may do what is named, and Acme."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts import services as account_services
from accounts.models import ApiKey, Organization, User
from billing import services as billing_services
from billing.models import DayTotal, Hold, LedgerEntry, Price, RefusalTally, UsageRecord, Wallet
from billing.redemption import create_batch
from channels_app import services as channel_services
from channels_app.models import CatalogueModel, Channel, ModelGroup, Provider
from costrouter.lib import ids
from relay.models import VideoTask

SECRET = "sk-upstream-0123456789abcdef"


def operator() -> Client:
    """A superuser, signed in."""
    User.objects.filter(email="operator@example.com").exists() or User.objects.create_superuser(
        "operator@example.com", "a-long-password"
    )
    client = Client()
    client.force_login(User.objects.get(email="operator@example.com"))
    return client


def staff(*permissions: str) -> Client:
    """An operator with only these permissions ("billing.view_wallet"), signed in."""
    user = account_services.create_user(email="staff@example.com", password="a-long-password", is_staff=True)
    for name in permissions:
        app, codename = name.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(user)
    return client


@dataclass
class Acme:
    """An organization with everything: a member, a key, money, a priced model on a channel."""

    alice: User
    organization: Organization
    wallet: Wallet
    group: ModelGroup
    model: CatalogueModel
    price: Price
    channel: Channel
    key: ApiKey
    secret: str


def acme(*, base_url: str = "https://upstream.example/v1", **channel: Any) -> Acme:
    alice = account_services.create_user(email="alice@example.com", password="a-long-password", name="Alice")
    organization = account_services.create_organization(name="Acme", owner=alice)
    group = channel_services.default_group()
    model = channel_services.save_model(model=CatalogueModel(name="gpt-small", context_window=128_000))
    price = billing_services.append_price(model_name="gpt-small", units={"input": "0.15", "output": "0.6"})
    made = channel_services.save_channel(
        channel=Channel(name="Main", provider=Provider.OPENAI_COMPATIBLE, base_url=base_url, **channel),
        credentials=SECRET,
        groups=[group],
        models={model: "gpt-small-upstream"},
    )
    key, secret = account_services.create_api_key(organization=organization, user=alice, name="laptop")
    wallet = billing_services.wallet_of(organization=organization)
    return Acme(alice, organization, wallet, group, model, price, made, key, secret)


def record(cast: Acme, **given: Any) -> UsageRecord:
    """A usage record of Acme's, made now."""
    values: dict[str, Any] = {
        "request_id": ids.request_id(),
        "organization_id": cast.organization.pk,
        "user_id": cast.alice.pk,
        "api_key_id": cast.key.pk,
        "endpoint": "chat.completions",
        "model": "gpt-small",
        "group": "default",
        "channel_id": cast.channel.pk,
        "channel": cast.channel.name,
        "attempts": [{"channel": cast.channel.pk, "name": "Main", "outcome": "ok", "ms": 321}],
        "status": UsageRecord.Status.OK,
        "http_status": 200,
        "units": {"input": 1000, "output": 200},
        "lines": [{"quantity": 1000, "unit": "input", "price": "0.15", "per": 1_000_000}],
        "cost_nanos": 270_000,
        "upstream_cost_nanos": 200_000,
        "held_nanos": 260_000,
        "overrun_nanos": 10_000,
        "price_id": cast.price.pk,
        "rate": Decimal(1),
        "duration_ms": 400,
    }
    return UsageRecord.objects.create(**{**values, **given})


def some_of_everything(cast: Acme) -> None:
    """A row of every model that the admin shows and `acme` did not make."""
    record(cast)
    billing_services.save_budget(
        budget=billing_services.Budget(organization=cast.organization, limit_nanos=5_000_000_000)
    )
    LedgerEntry.objects.create(wallet=cast.wallet, kind="usage", amount_nanos=-5, requests=1, idempotency_key="usage:1")
    Hold.objects.create(
        request_id=ids.request_id(),
        wallet=cast.wallet,
        amount_nanos=7,
        model="gpt-small",
        group="default",
        endpoint="c",
    )
    RefusalTally.objects.create(
        api_key=cast.key,
        organization=cast.organization,
        minute=timezone.now(),
        error_code="rate_limit_exceeded",
        count=4,
    )
    VideoTask.objects.create(
        id="video_1",
        request_id=ids.request_id(),
        organization=cast.organization,
        channel_id=cast.channel.pk,
        upstream_id="video_upstream",
        model="gpt-small",
        group="default",
        status=VideoTask.Status.COMPLETED,
        prompt="a private wish",
        seconds=4,
        price_id=cast.price.pk,
        rate=1,
        cost_multiplier=1,
        record="{}",
        deadline=timezone.now(),
    )
    DayTotal.objects.create(
        day=timezone.now().date(), organization=cast.organization, model="gpt-small", requests=3, cost_nanos=9, input=5
    )
    create_batch(name="Spring", amount_nanos=5_000_000_000, count=2)
