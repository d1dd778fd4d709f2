"""`/v1/generation`, `/v1/credits`, `/v1/key`: an account as its own key sees it, and nobody else's."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import httpx
import pytest
from django.db import DatabaseError

from accounts.services import save_api_key, save_organization
from billing.models import Budget, DayTotal, Hold, LedgerEntry, UsageRecord, Wallet
from billing.reports.spending import Spending, spending_of_key
from billing.selectors import BudgetState, Credits, budget_states, credits_of
from billing.services import save_budget
from billing.settlement import settle
from relay.reading.account import generation_data
from tests.cast.calls import locked_wallet
from tests.cast.refusals import CHAT, error_of
from tests.cast.waiting import eventually
from tests.doubles.upstream import ask

TODAY = date(2026, 11, 23)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
USD = 1_000_000_000


def get(relay, path, secret):
    return httpx.get(relay.url + path, headers={"authorization": f"Bearer {secret}"}, timeout=20)


def hold(world, amount, *, captured, at=NOON, organization=None, key=None):
    number = Hold.objects.count()
    return Hold.objects.create(
        request_id=f"req_{number:032x}",
        wallet_id=(organization or world.organization).pk,
        amount_nanos=amount,
        captured=captured,
        api_key_id=(key or world.key).pk,
        created_at=at,
    )


def total(world, day, cost, *, organization=None, key=None, model="double-1"):
    DayTotal.objects.create(
        day=day,
        organization=organization or world.organization,
        model=model,
        api_key_id=(key or world.key).pk,
        cost_nanos=cost,
    )


def test_credits_agree_whether_charges_are_settled_or_not(world) -> None:
    wallet = Wallet.objects.filter(pk=world.organization.pk)
    world.credit(5 * USD, organization=world.bobs)
    LedgerEntry.objects.create(
        wallet_id=world.organization.pk, kind="debit", amount_nanos=-2 * USD, idempotency_key="d"
    )
    LedgerEntry.objects.create(wallet_id=world.organization.pk, kind="usage", amount_nanos=-300, idempotency_key="u")
    wallet.update(balance_nanos=8 * USD - 300, held_nanos=1_070, credit_limit_nanos=USD)
    hold(world, 70, captured=True)
    hold(world, 1_000, captured=False)
    hold(world, 999, captured=True, organization=world.bobs)

    money = credits_of(organization_id=world.organization.pk)

    assert money == Credits(credited=8 * USD, balance=8 * USD - 370, held=1_000, credit_limit=USD)
    assert money.used == 370
    assert credits_of(organization_id=12_345) == Credits(0, 0, 0, 0)


def test_a_keys_spending_counts_each_charge_once_in_its_day_and_month(world) -> None:
    other, _ = world.new_key()
    total(world, date(2026, 10, 31), 1)
    total(world, date(2026, 11, 1), 10)
    total(world, TODAY, 100)
    total(world, TODAY, 1_000, model="another")
    total(world, TODAY, 5_000_000, key=other)
    total(world, TODAY, 7_000_000, organization=world.bobs)
    hold(world, 10_000, captured=True)
    hold(world, 100_000, captured=True, at=datetime(2026, 11, 22, 23, 59, tzinfo=UTC))
    hold(world, 9_000_000, captured=False)
    hold(world, 8_000_000, captured=True, key=other)

    spent = spending_of_key(organization_id=world.organization.pk, api_key_id=world.key.pk, today=TODAY)

    assert spent == Spending(total=111_111, day=11_100, month=111_110)
    assert spending_of_key(organization_id=world.organization.pk, api_key_id=0, today=TODAY) == Spending(0, 0, 0)


def test_budgets_of_a_key_are_its_own_its_members_and_its_organizations_in_their_windows(world) -> None:
    def budget(limit, window, start, spent, **of):
        organization = of.pop("organization", world.organization)
        Budget.objects.create(
            organization=organization,
            limit_nanos=limit,
            window=window,
            window_start=start,
            spent_nanos=spent,
            held_nanos=5,
            **of,
        )

    other, _ = world.new_key()
    budget(100, "total", None, 30, api_key=world.key)
    budget(100, "day", date(2026, 11, 22), 90, api_key=world.key)
    budget(100, "month", date(2026, 11, 1), 98, user=world.alice)
    budget(100, "week", TODAY - timedelta(days=TODAY.weekday()), 97, user=world.alice)
    budget(100, "week", TODAY - timedelta(days=TODAY.weekday() + 7), 96, user=world.alice)
    budget(100, "day", TODAY, 40)
    budget(100, "total", None, 1, api_key=other)
    budget(100, "total", None, 1, organization=world.bobs)

    states = budget_states(
        organization_id=world.organization.pk, user_id=world.alice.pk, api_key_id=world.key.pk, today=TODAY
    )

    assert states == [
        BudgetState("key", "total", 100, 30, 5),
        BudgetState("key", "day", 100, 0, 5),
        BudgetState("member", "month", 100, 98, 5),
        BudgetState("member", "week", 100, 97, 5),
        BudgetState("member", "week", 100, 0, 5),
        BudgetState("organization", "day", 100, 40, 5),
    ]
    assert [state.remaining for state in states] == [65, 95, 0, 0, 95, 55]


def test_a_generation_shows_its_cost_usage_route_and_timing_and_nothing_of_the_operators() -> None:
    record = UsageRecord(
        request_id="req_1",
        created_at=NOON,
        organization_id=3,
        endpoint="chat.completions",
        model="m",
        group="default",
        channel_id=9,
        channel="second",
        attempts=[
            {"channel": 8, "name": "first", "outcome": "status 503", "ms": 12, "secret": "sk-upstream"},
            {"channel": 9, "name": "second", "outcome": "ok", "ms": 340},
        ],
        status="ok",
        http_status=200,
        streamed=True,
        units={"input": 10, "cache_read": 5, "output": 20, "reasoning": 8, "audio_out": 1, "searches": 2},
        lines=[{"unit": "input", "quantity": 10, "price": "1", "per": 1_000_000}],
        cost_nanos=1_234_567_891,
        upstream_cost_nanos=77,
        held_nanos=9_999,
        rate=Decimal("1.2500"),
        first_byte_ms=100,
        duration_ms=352,
    )

    shown = generation_data(record)

    assert (bytes(shown.pop("total_cost")), bytes(shown.pop("usage"))) == (b"1.234567891", b"1.234567891")
    assert bytes(shown.pop("rate")) == b"1.2500"
    assert shown == {
        "id": "req_1",
        "created_at": "2026-11-23T12:00:00+00:00",
        "endpoint": "chat.completions",
        "model": "m",
        "group": "default",
        "status": "ok",
        "http_status": 200,
        "error_code": None,
        "streamed": True,
        "cancelled": False,
        "estimated": False,
        "lines": [{"unit": "input", "quantity": 10, "price": "1", "per": 1_000_000}],
        "units": {"input": 10, "cache_read": 5, "output": 20, "reasoning": 8, "audio_out": 1, "searches": 2},
        "tokens_prompt": 15,
        "tokens_completion": 21,
        "native_tokens_prompt": 15,
        "native_tokens_completion": 21,
        "native_tokens_reasoning": 8,
        "native_tokens_cached": 5,
        "num_search_results": 2,
        "provider_name": "second",
        "route": [
            {"channel": "first", "outcome": "status 503", "ms": 12},
            {"channel": "second", "outcome": "ok", "ms": 340},
        ],
        "latency": 100,
        "generation_time": 252,
        "duration": 352,
        "client_request_id": None,
    }


def test_a_request_is_found_by_its_organization_alone_once_it_is_over(world, upstream, relay, client) -> None:
    world.new_channel(upstream.url)
    relay.settled_down()
    answered = client.post(CHAT, json=ask())
    request_id = answered.headers["x-request-id"]
    _, colleague = world.new_key()

    mine = get(relay, f"/v1/generation?id={request_id}", world.secret)
    bobs = get(relay, f"/v1/generation?id={request_id}", world.bobs_secret)

    record = world.record()
    assert mine.status_code == 200
    assert (mine.headers["content-type"], mine.headers["cache-control"]) == ("application/json", "no-store")
    data = mine.json()["data"]
    assert (data["id"], data["status"], data["model"]) == (request_id, "ok", "double-1")
    assert (data["units"], data["provider_name"]) == (record.units, "first")
    cost = f"{record.cost_nanos / USD:.9f}".rstrip("0")
    assert record.cost_nanos > 0 and f'"total_cost":{cost},'.encode() in mine.content
    assert b"sk-upstream" not in mine.content
    eventually(lambda: get(relay, f"/v1/generation?id={request_id}", colleague).status_code == 200)
    assert error_of(bobs, 404, "not_found")["message"] == "There is no such request."
    for odd in ("req_0", "%00", "%ED%A0%80", "a" * 5_000):
        error_of(get(relay, f"/v1/generation?id={odd}", world.secret), 404, "not_found")
    assert error_of(get(relay, "/v1/generation", world.secret), 400, "invalid_request")["param"] == "id"
    # Asking leaves no record of its own.
    assert len(world.records()) == 1


def test_a_request_under_way_says_so_to_its_own_organization(world, relay) -> None:
    running = hold(world, 100, captured=False)
    path = f"/v1/generation?id={running.request_id}"
    relay.settled_down()

    assert error_of(get(relay, path, world.secret), 404, "not_found")["message"] == "This request is still running."
    assert error_of(get(relay, path, world.bobs_secret), 404, "not_found")["message"] == "There is no such request."


def test_credits_are_exact_json_numbers(world, upstream, relay, client) -> None:
    world.new_channel(upstream.url)
    relay.settled_down()
    client.post(CHAT, json=ask())
    cost = world.record().cost_nanos

    before = get(relay, "/v1/credits", world.secret)
    settle()
    after = get(relay, "/v1/credits", world.secret)
    empty = get(relay, "/v1/credits", world.bobs_secret).json()["data"]

    assert before.content == after.content
    data = json.loads(after.content, parse_float=str)["data"]
    left = f"{(10 * USD - cost) / USD:.9f}".rstrip("0")
    assert data == {
        "total_credits": "10.0",
        "total_usage": f"{cost / USD:.9f}".rstrip("0"),
        "balance": left,
        "held": "0.0",
        "credit_limit": "0.0",
        "available": left,
    }
    assert set(empty.values()) == {0.0}


def test_a_key_tells_its_limits_its_budgets_and_what_it_was_charged(world, upstream, relay) -> None:
    world.new_channel(upstream.url)
    expires = datetime(2099, 1, 1, tzinfo=UTC)
    key, secret = world.new_key(expires_at=expires, allowed_models=["double-1"], allowed_ips=["127.0.0.0/8"])
    key.requests_per_minute = 60
    save_api_key(key=key)
    world.organization.tokens_per_minute = 90_000
    save_organization(organization=world.organization)
    save_budget(budget=Budget(organization=world.organization, api_key=key, limit_nanos=2 * USD, window="month"))
    save_budget(budget=Budget(organization=world.organization, limit_nanos=USD))
    relay.settled_down()
    answered = httpx.post(relay.url + CHAT, json=ask(), headers={"authorization": f"Bearer {secret}"}, timeout=20)
    assert answered.status_code == 200
    cost = world.record().cost_nanos / USD

    data = get(relay, "/v1/key", secret).json()["data"]
    plain = get(relay, "/v1/key", world.bobs_secret).json()["data"]

    assert data["label"] == f"{key.prefix}…" and secret not in json.dumps(data)
    assert (data["name"], data["group"], data["expires_at"]) == ("test", "default", "2099-01-01T00:00:00+00:00")
    assert (data["allowed_models"], data["allowed_ips"]) == (["double-1"], ["127.0.0.0/8"])
    assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == (2.0, 2.0 - cost, "monthly")
    assert data["usage"] == data["usage_daily"] == data["usage_monthly"] == cost
    assert [(b["scope"], b["limit"], b["used"], b["held"], b["remaining"]) for b in data["budgets"]] == [
        ("key", 2.0, cost, 0.0, 2.0 - cost),
        ("organization", 1.0, cost, 0.0, 1.0 - cost),
    ]
    none = {"requests_per_minute": None, "tokens_per_minute": None, "concurrent_requests": None}
    assert data["rate_limits"] == {
        "key": {**none, "requests_per_minute": 60},
        "organization": {**none, "tokens_per_minute": 90_000},
    }
    assert (plain["limit"], plain["limit_remaining"], plain["limit_reset"]) == (None, None, None)
    assert (plain["budgets"], plain["usage"], plain["expires_at"]) == ([], 0.0, None)
    assert plain["rate_limits"] == {"key": none, "organization": none}


def test_an_account_cannot_be_read_without_a_key_or_a_database(world, relay, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: object) -> None:
        raise DatabaseError("gone")

    for path in ("/v1/credits", "/v1/key", "/v1/generation?id=x"):
        error_of(httpx.get(relay.url + path), 401, "invalid_api_key")
    get(relay, "/v1/key", world.secret)
    monkeypatch.setattr("billing.selectors.credits_of", away)

    answer = get(relay, "/v1/credits", world.secret)

    error_of(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"


def test_reading_credits_does_not_wait_for_a_locked_wallet(world, relay) -> None:
    relay.settled_down()
    get(relay, "/v1/key", world.secret)

    with locked_wallet(world):
        answer = get(relay, "/v1/credits", world.secret)

    assert answer.json()["data"]["balance"] == 10.0
