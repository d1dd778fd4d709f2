"""A believable site to look at: an organization with a team, keys, a month of usage, and an operator. Made by services.

The usage is settled by the product's own settlement, so that every page agrees with the money. The numbers are always
the same; the days are the last thirty.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db.models import F, Sum
from django.utils import timezone

from accounts import audit
from accounts import services as accounts
from accounts.models import ApiKey, Membership, Organization, User
from billing import services as billing
from billing.books import window_start
from billing.models import Budget, DayTotal, Hold, LedgerEntry, Price, UsageRecord, Wallet
from billing.pricing.rates import compile_rates
from billing.redemption import codes_of, create_batch, redeem
from billing.selectors import price_info
from billing.settlement import settle
from channels_app import services as channels
from channels_app.health import Outcome, Tally, Verdict, record_outcomes
from channels_app.models import CatalogueModel, Channel, ModelGroup

USD = 1_000_000_000
PASSWORD = "correct horse battery"
DAYS = 30
# Name, maker, context, output, modalities in, out, endpoint, prices.
MODELS: tuple[tuple[str, str, int | None, int | None, list[str], list[str], str, dict[str, str]], ...] = (
    (
        "gpt-5-mini",
        "OpenAI",
        400_000,
        128_000,
        ["text", "image"],
        ["text"],
        "chat.completions",
        {"input": "0.25", "cache_read": "0.025", "output": "2"},
    ),
    (
        "gpt-5",
        "OpenAI",
        400_000,
        128_000,
        ["text", "image"],
        ["text"],
        "responses",
        {"input": "1.25", "cache_read": "0.125", "output": "10"},
    ),
    (
        "claude-sonnet-4-5",
        "Anthropic",
        200_000,
        64_000,
        ["text", "image", "file"],
        ["text"],
        "messages",
        {"input": "3", "cache_read": "0.3", "cache_write_5m": "3.75", "cache_write_1h": "6", "output": "15"},
    ),
    (
        "gemini-2.5-flash",
        "Google",
        1_048_576,
        65_536,
        ["text", "image", "audio", "file"],
        ["text"],
        "gemini.stream",
        {"input": "0.3", "cache_read": "0.03", "audio_in": "1", "output": "2.5"},
    ),
    ("text-embedding-3-small", "OpenAI", 8_192, None, ["text"], ["text"], "embeddings", {"input": "0.02"}),
    ("gpt-image-1", "OpenAI", None, None, ["text", "image"], ["image"], "images.generations", {"images": "0.042"}),
    ("whisper-1", "OpenAI", None, None, ["audio"], ["text"], "audio.transcriptions", {"seconds": "0.0001"}),
)


@dataclass
class Stage:
    """Who is there. `sessions`: e-mail → the session cookie of that person."""

    operator: User
    ada: User
    ben: User
    carol: User
    organization: Organization
    others: Organization
    key: ApiKey
    secret: str
    record: UsageRecord
    channel: Channel
    sessions: dict[str, str] = field(default_factory=dict)


def build(*, base_url: str = "https://api.openai.com/v1", requests: int = 900) -> Stage:
    """Make it all, in an empty database. `base_url`: where the first channel asks."""
    operator = User.objects.create_superuser("olivia@costrouter.example", PASSWORD, name="Olivia Park")
    ada = accounts.create_user(email="ada@northwind.example", password=PASSWORD, name="Ada Wong")
    ben = accounts.create_user(email="ben@northwind.example", password=PASSWORD, name="Ben Ito")
    carol = accounts.create_user(email="carol@northwind.example", password=PASSWORD, name="Carol Diaz")
    organization = accounts.create_organization(name="Northwind Labs", owner=ada)
    others = accounts.create_organization(name="Fabrikam", owner=operator)
    accounts.change_members(
        organization=organization,
        saved=[
            Membership(user=ben, organization=organization, role=Membership.Role.ADMIN),
            Membership(user=carol, organization=organization, role=Membership.Role.MEMBER),
        ],
    )
    groups = _groups(organization)
    first = _channels(_models(), groups, base_url)
    made = [
        accounts.create_api_key(organization=organization, user=ada, name="Production"),
        accounts.create_api_key(organization=organization, user=ben, name="Support bot", group="economy"),
        accounts.create_api_key(
            organization=organization,
            user=carol,
            name="Notebook",
            allowed_models=["gpt-5-mini", "text-embedding-3-small"],
            expires_at=timezone.now() + timedelta(days=20),
        ),
    ]
    keys = [key for key, _ in made]
    for key, limit, window in ((keys[1], 40, "month"), (keys[2], 2, "week")):
        billing.save_budget(
            budget=Budget(organization=organization, api_key=key, limit_nanos=limit * USD, window=window)
        )
    _credit(organization, 120, "Invoice 2026-0117", operator)
    _credit(others, 25, "Trial", operator)
    batch = create_batch(name="Launch week", amount_nanos=20 * USD, count=12, note="For the newsletter", actor=operator)
    _usage(organization, keys, requests)
    with audit.acting(user=ada, via=audit.Via.CONSOLE, client_ip="203.0.113.7"):
        redeem(member=ada.memberships.get(organization=organization), code=next(codes_of(batch)).code or "")
        accounts.invite(
            member=ada.memberships.get(organization=organization),
            email="dev@northwind.example",
            role=Membership.Role.MEMBER,
            site_url="https://costrouter.example",
        )
        accounts.create_access_token(
            member=ada.memberships.get(organization=organization),
            name="Nightly report",
            scopes=["usage:read", "billing:read"],
            expires_at=timezone.now() + timedelta(days=90),
        )
        accounts.rotate_api_key(key=keys[1], overlap=timedelta(days=1))
    _health()
    for budget in Budget.objects.all():
        # As the writer counts it: what the key spent in the window under way.
        start = window_start(budget.window, timezone.now().date())
        spent = DayTotal.objects.filter(api_key_id=budget.api_key_id, day__gte=start).aggregate(sum=Sum("cost_nanos"))
        Budget.objects.filter(pk=budget.pk).update(spent_nanos=spent["sum"] or 0, window_start=start)
    stage = Stage(
        operator=operator,
        ada=ada,
        ben=ben,
        carol=carol,
        organization=organization,
        others=others,
        key=keys[0],
        secret=made[0][1],
        record=UsageRecord.objects.filter(
            organization=organization, status="ok", units__has_key="cache_read", model="claude-sonnet-4-5"
        ).latest("request_id"),
        channel=first,
    )
    for person in (operator, ada, ben, carol):
        stage.sessions[person.email] = session_of(person)
    return stage


def _credit(organization: Organization, usd: int, note: str, operator: User) -> None:
    """Money that was put in before the usage began."""
    wallet = billing.wallet_of(organization=organization)
    LedgerEntry.objects.create(
        wallet=wallet,
        kind=LedgerEntry.Kind.CREDIT,
        amount_nanos=usd * USD,
        idempotency_key=f"stage:{organization.pk}",
        actor=operator,
        note=note,
        created_at=timezone.now() - timedelta(days=DAYS + 2),
    )
    Wallet.objects.filter(pk=wallet.pk).update(balance_nanos=F("balance_nanos") + usd * USD)


def _health() -> None:
    """How the channels have done in the last hours: one of them badly."""
    now = timezone.now().timestamp()
    tallies = {}
    for number, channel in enumerate(Channel.objects.order_by("pk")):
        tallies[channel.pk] = tally = Tally()
        for step in range(120):
            failed = step % (7 if number == 1 else 60) == 0
            verdict, outcome = (Verdict.FAILED, "status 529") if failed else (Verdict.OK, "ok")
            tally.add(Outcome(channel.pk, "gpt-5", verdict, outcome, 700 + step, now - 60 * (120 - step)))
    record_outcomes(tallies=tallies)


def session_of(user: User) -> str:
    """A session cookie of a user who signed in with their password just now, however long the looking takes."""
    session = SessionStore()
    session["_auth_user_id"] = str(user.pk)
    session["_auth_user_backend"] = settings.AUTHENTICATION_BACKENDS[0]
    session["_auth_user_hash"] = user.get_session_auth_hash()
    session["account_authentication_methods"] = [{"method": "password", "at": timezone.now().timestamp() + 3_600}]
    session.save()
    return str(session.session_key)


def _groups(organization: Organization) -> list[ModelGroup]:
    economy = ModelGroup(name="economy", description="Slower channels at a lower rate.", rate=Decimal("0.8"))
    private = ModelGroup(name="eu-only", description="Served within the EU.", rate=Decimal("1.15"), is_public=False)
    return [
        channels.default_group(),
        channels.save_group(group=economy),
        channels.save_group(group=private, organizations=[organization]),
    ]


def _models() -> dict[str, CatalogueModel]:
    made = {}
    for name, maker, context, output, modalities_in, modalities_out, _, prices in MODELS:
        made[name] = channels.save_model(
            model=CatalogueModel(
                name=name,
                owned_by=maker,
                context_window=context,
                max_output=output,
                input_modalities=modalities_in,
                output_modalities=modalities_out,
            )
        )
        billing.append_price(model_name=name, units=prices)
    return made


def _channels(models: dict[str, CatalogueModel], groups: list[ModelGroup], base_url: str) -> Channel:
    default, economy, private = groups
    openai = [models[name] for name, maker, *_ in MODELS if maker == "OpenAI"]
    rows: tuple[tuple[str, str, str, list[ModelGroup], list[CatalogueModel], str], ...] = (
        ("OpenAI direct", "openai", base_url, [default], openai, "0.7"),
        ("OpenAI resale", "openai_compatible", "https://resale.example/v1", [economy], openai[:2], "0.55"),
        (
            "Anthropic direct",
            "anthropic",
            "https://api.anthropic.com",
            [default, private],
            [models["claude-sonnet-4-5"]],
            "0.65",
        ),
        (
            "Google Gemini",
            "gemini",
            "https://generativelanguage.googleapis.com",
            [default, economy],
            [models["gemini-2.5-flash"]],
            "0.7",
        ),
    )
    made = [
        channels.save_channel(
            channel=Channel(
                name=name,
                provider=provider,
                base_url=url,
                cost_multiplier=Decimal(multiplier),
                allow_private_addresses="127.0.0.1" in url,
            ),
            credentials="sk-upstream-0123456789",
            groups=in_groups,
            models=dict.fromkeys(served, ""),
        )
        for name, provider, url, in_groups, served, multiplier in rows
    ]
    return made[0]


def _usage(organization: Organization, keys: list[ApiKey], requests: int) -> None:
    """Records over the last days and their captured holds, then the product's own settlement."""
    dice = random.Random(20_261_123)
    now = timezone.now()
    records, holds = [], []
    for _ in range(requests):
        # More of it lately, and by day.
        age = timedelta(days=DAYS * dice.random() ** 1.6)
        record = _record(dice, organization, dice.choices(keys, (6, 3, 1))[0], now - age)
        records.append(record)
        holds.append(
            Hold(
                request_id=record.request_id,
                wallet_id=organization.pk,
                amount_nanos=record.cost_nanos,
                captured=True,
                api_key_id=record.api_key_id,
                user_id=record.user_id,
                model=record.model,
                group=record.group,
                endpoint=record.endpoint,
                created_at=record.created_at,
            )
        )
    UsageRecord.objects.bulk_create(records)
    Hold.objects.bulk_create(holds)
    Wallet.objects.filter(pk=organization.pk).update(
        held_nanos=F("held_nanos") + sum(hold.amount_nanos for hold in holds)
    )
    settle()


def _record(dice: random.Random, organization: Organization, key: ApiKey, at: datetime) -> UsageRecord:
    name, maker, *_, endpoint, _prices = dice.choices(MODELS, (9, 4, 5, 4, 3, 1, 1))[0]
    price = Price.objects.get(model_name=name)
    channel = Channel.objects.filter(served_models__name=name).first()
    assert channel is not None
    rate = ModelGroup.objects.get(name=key.group).rate
    failed = dice.random() < 0.025
    units = {} if failed else _units(dice, name)
    rates = compile_rates(price_info(price), rate)
    cost = rates.cost_nanos(units) if units else 0
    upstream = compile_rates(price_info(price), channel.cost_multiplier).cost_nanos(units) if units else 0
    first_byte = dice.randint(180, 1_400)
    values: dict[str, Any] = {
        "request_id": f"req_{int(at.timestamp() * 1000):012x}7{dice.getrandbits(76):019x}",
        "created_at": at,
        "organization_id": organization.pk,
        "user_id": key.user_id,
        "api_key_id": key.pk,
        "endpoint": endpoint,
        "model": name,
        "group": key.group,
        "channel_id": channel.pk,
        "channel": channel.name,
        "attempts": [
            {
                "channel": channel.pk,
                "name": channel.name,
                "outcome": "status 529" if failed else "ok",
                "ms": first_byte,
            }
        ],
        "status": "upstream_error" if failed else "ok",
        "http_status": 503 if failed else 200,
        "error_code": "upstream_error" if failed else "",
        "streamed": maker != "OpenAI" or dice.random() < 0.6,
        "units": units,
        "cost_nanos": cost,
        "upstream_cost_nanos": upstream,
        "held_nanos": cost * 3,
        "price_id": price.pk,
        "rate": rate,
        "first_byte_ms": first_byte,
        "duration_ms": first_byte + dice.randint(200, 9_000),
        "client_ip": "203.0.113.7",
    }
    if units:
        values["lines"] = json.loads(rates.lines_json(units))
    return UsageRecord(**values)


def _units(dice: random.Random, model: str) -> dict[str, int]:
    if model == "gpt-image-1":
        return {"images": dice.randint(1, 4)}
    if model == "whisper-1":
        return {"seconds": dice.randint(20, 900)}
    if model.startswith("text-embedding"):
        return {"input": dice.randint(200, 8_000)}
    units = {"input": dice.randint(300, 14_000), "output": dice.randint(80, 2_600)}
    if dice.random() < 0.45:
        units["cache_read"] = dice.randint(1_024, 40_000)
    if dice.random() < 0.3:
        units["reasoning"] = units["output"] // 2
    return units
