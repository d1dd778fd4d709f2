"""What an organization does through the management API: exact answers, and what they leave in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from accounts.models import ApiKey, AuditEntry, Invitation, Membership, Organization, PersonalAccessToken
from accounts.services import access_token_by_secret
from billing.models import Budget, DayTotal, LedgerEntry, RedemptionCode, Wallet
from billing.redemption import code_text
from costrouter.api import base
from costrouter.api.throttles import Redeem
from tests.cast.api import USD, Api, Cast, by_session, by_token, cast, error, new_record

pytestmark = pytest.mark.django_db
NOTHING_SPENT = {"total_usd": "0.0", "day_usd": "0.0", "month_usd": "0.0"}


@pytest.fixture
def people() -> Cast:
    return cast()


@pytest.fixture
def alice(people: Cast) -> Api:
    return by_token(people.alice, people.acme)


def test_a_key_is_made_with_everything_and_told_once(alice: Api, people: Cast) -> None:
    body = {
        "name": "batch",
        "allowed_models": ["gpt-small"],
        "allowed_ips": ["203.0.113.0/24"],
        "expires_at": "2036-01-02T03:04:05+02:00",
        "limit": {"amount_usd": "12.000000001", "window": "month"},
        "requests_per_minute": 60,
    }

    response = alice.ask("post", "keys", body)

    made = response.json()
    key = ApiKey.objects.latest("pk")
    assert response.status_code == 201
    assert made["secret"].startswith("sk-") and len(made["secret"]) == 51
    assert made["key"] == {
        "id": key.pk,
        "name": "batch",
        "prefix": made["secret"][:11],
        "status": "active",
        "enabled": True,
        "group": "default",
        "allowed_models": ["gpt-small"],
        "allowed_ips": ["203.0.113.0/24"],
        "expires_at": "2036-01-02T01:04:05Z",
        "limit": {
            "amount_usd": "12.000000001",
            "window": "month",
            "spent_usd": "0.0",
            "held_usd": "0.0",
            "remaining_usd": "12.000000001",
        },
        "requests_per_minute": 60,
        "tokens_per_minute": None,
        "concurrent_requests": None,
        "previous_expires_at": None,
        "owner": {"id": people.alice.pk, "email": "alice@example.com", "name": "Alice"},
        "spent": NOTHING_SPENT,
        "last_used_at": None,
        "created_at": made["key"]["created_at"],
    }
    assert Budget.objects.get(api_key=key).limit_nanos == 12_000_000_001
    assert alice.ask("get", f"keys/{key.pk}").json() == made["key"]
    entry = AuditEntry.objects.get(action="api_key.created", object_id=str(key.pk))
    assert (entry.actor_id, entry.via) == (people.alice.pk, "api")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "name"),
        ({"group": "secret"}, "group"),
        ({"allowed_models": ["gpt-9"]}, "allowed_models"),
        ({"allowed_ips": ["300.1.1.1"]}, "allowed_ips"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"limit": {"amount_usd": "1.0000000001"}}, "limit.amount_usd"),
        ({"limit": {"amount_usd": 5}}, "limit.amount_usd"),
        ({"limit": {"amount_usd": "-1"}}, "limit.amount_usd"),
        ({"limit": {"amount_usd": "1", "window": "year"}}, "limit.window"),
        ({"limit": {"amount_usd": "1", "per": "day"}}, "limit.per"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"requests_per_minute": 2**31}, "requests_per_minute"),
        ({"requests_per_minute": "60"}, "requests_per_minute"),
    ],
)
def test_a_key_that_is_refused_names_the_field(alice: Api, change: dict[str, Any], field: str) -> None:
    response = alice.ask("post", "keys", {"name": "batch", **change})

    assert error(response) == (400, "invalid")
    assert list(response.json()["error"]["fields"]) == [field]
    assert ApiKey.objects.count() == 2
    assert not Budget.objects.exists()


def test_a_change_leaves_what_it_does_not_name(alice: Api, people: Cast) -> None:
    path = f"keys/{people.key.pk}"
    alice.ask("patch", path, {"limit": {"amount_usd": "5", "window": "day"}, "tokens_per_minute": 9})

    changed = alice.ask("patch", path, {"name": "renamed"}).json()
    assert (changed["name"], changed["limit"]["amount_usd"], changed["tokens_per_minute"]) == ("renamed", "5.0", 9)

    changed = alice.ask("patch", path, {"limit": None, "tokens_per_minute": None}).json()
    assert (changed["limit"], changed["tokens_per_minute"]) == (None, None)
    assert not Budget.objects.exists()


def test_a_rotation_tells_the_new_secret_and_when_the_old_one_ends(alice: Api, people: Cast) -> None:
    before = people.key.digest

    answer = alice.ask("post", f"keys/{people.key.pk}/rotate", {"overlap_seconds": 3600}).json()

    people.key.refresh_from_db()
    assert answer["secret"][:11] == answer["key"]["prefix"] == people.key.prefix
    assert answer["key"]["status"] == "rotating"
    assert people.key.previous_digest == before != people.key.digest
    until = datetime.fromisoformat(answer["key"]["previous_expires_at"])
    assert timedelta(minutes=59) < until - datetime.now(UTC) <= timedelta(hours=1)
    assert error(alice.ask("post", f"keys/{people.key.pk}/rotate", {"overlap_seconds": 10**9})) == (400, "invalid")


def test_a_key_is_switched_off_and_on_and_deleted(alice: Api, people: Cast) -> None:
    path = f"keys/{people.key.pk}"

    assert alice.ask("post", f"{path}/disable").json()["status"] == "disabled"
    assert alice.ask("post", f"{path}/enable").json()["status"] == "active"
    gone = alice.ask("delete", path)

    assert (gone.status_code, gone.content) == (204, b"")
    assert error(alice.ask("get", path)) == (404, "not_found")
    people.key.refresh_from_db()
    assert people.key.deleted_at is not None


def test_lists_go_on_by_cursor(alice: Api, people: Cast) -> None:
    first = alice.ask("get", "keys", limit=1).json()
    second = alice.ask("get", "keys", limit=1, cursor=first["next_cursor"]).json()

    assert [row["name"] for row in first["data"]] == ["laptop"]
    assert [row["name"] for row in second["data"]] == ["server"]
    assert second["next_cursor"] is None
    assert [row["name"] for row in alice.ask("get", "keys", search="serv").json()["data"]] == ["server"]
    for limit in ("0", "101", "x", ""):
        assert error(alice.ask("get", "keys", limit=limit)) == (400, "invalid")
    assert error(alice.ask("get", "keys", cursor="0x")) == (400, "invalid")


def test_members_see_their_own_keys_alone(people: Cast) -> None:
    carol = by_token(people.carol, people.acme)

    assert [row["name"] for row in carol.ask("get", "keys").json()["data"]] == ["laptop"]


def test_a_request_is_told_with_its_arithmetic(alice: Api, people: Cast) -> None:
    answer = alice.ask("get", f"usage/records/{people.record.pk}").json()

    assert answer["record"] == {
        "request_id": people.record.pk,
        "created_at": answer["record"]["created_at"],
        "endpoint": "chat_completions",
        "model": "gpt-small",
        "group": "default",
        "status": "ok",
        "http_status": 200,
        "error_code": "",
        "key_id": people.key.pk,
        "key_name": "server",
        "user_id": people.alice.pk,
        "user_email": "alice@example.com",
        "streamed": False,
        "estimated": False,
        "units": {"input": 1000, "output": 500},
        "cost_usd": "0.00045",
        "first_byte_ms": 120,
        "duration_ms": 900,
        "client_ip": "203.0.113.9",
        "client_request_id": "",
    }
    assert answer["cost"] == {
        "lines": [
            {"unit": "input", "quantity": 1000, "price_usd": "0.15", "per": 1_000_000, "amount_usd": "0.00015"},
            {"unit": "output", "quantity": 500, "price_usd": "0.6", "per": 1_000_000, "amount_usd": "0.0003"},
        ],
        "sum_usd": "0.00045",
        "rate": "1",
        "exact_usd": "0.00045",
        "rounded_usd": "0.00045",
        "charged_usd": "0.00045",
    }


def test_requests_are_filtered_and_walked(alice: Api, people: Cast) -> None:
    failed = new_record(people.acme, people.carols_key, status="upstream_error", cost_nanos=0, user=people.carol)

    def found(**query: Any) -> list[str]:
        return [row["request_id"] for row in alice.ask("get", "usage/records", **query).json()["data"]]

    assert found() == [failed.pk, people.record.pk]
    assert found(status="upstream_error") == found(key_id=people.carols_key.pk) == [failed.pk]
    assert found(user_id=people.alice.pk) == found(min_cost_usd="0.00045") == [people.record.pk]
    assert found(until="2020-01-01T00:00:00Z") == []
    first = alice.ask("get", "usage/records", limit=1).json()
    assert first["next_cursor"] == failed.pk
    assert found(cursor=first["next_cursor"]) == [people.record.pk]
    assert error(alice.ask("get", "usage/records", status="good")) == (400, "invalid")


def test_usage_is_summed_by_day_model_key_and_member(alice: Api, people: Cast) -> None:
    today = timezone.now().date()
    for key, requests in ((people.key, 3), (people.carols_key, 1)):
        DayTotal.objects.create(
            day=today,
            organization=people.acme,
            model="gpt-small",
            api_key_id=key.pk,
            requests=requests,
            failures=key == people.key,
            cost_nanos=requests * 450_000,
            upstream_cost_nanos=7,
            first_byte_ms=240,
            timed=2,
            input=1000 * requests,
            output=500 * requests,
        )
    totals = {
        "requests": 4,
        "failures": 1,
        "success_rate": 0.75,
        "cost_usd": "0.0018",
        "tokens": 6000,
        "input_tokens": 4000,
        "cached_tokens": 0,
        "output_tokens": 2000,
        "first_byte_ms": 120,
        "units": {"input": 4000, "output": 2000},
    }
    day = today.isoformat()
    earlier = (today - timedelta(days=1)).isoformat()
    period = {"first": earlier, "last": day}
    summary = alice.ask("get", "usage/summary", **period).json()
    days = alice.ask("get", "usage/by-day", **period).json()
    keys = alice.ask("get", "usage/by-key").json()
    members = alice.ask("get", "usage/by-member").json()

    spent = {"day_usd": "0.0018", "month_usd": "0.0018", "last_month_usd": "0.0"}
    assert summary == {**period, "totals": totals, "spending": spent}
    assert [row["day"] for row in days["data"]] == [earlier, day]
    assert [row["totals"]["requests"] for row in days["data"]] == [0, 4]
    assert days["data"][0]["totals"]["success_rate"] is None
    assert alice.ask("get", "usage/by-model").json()["data"] == [{"model": "gpt-small", "totals": totals}]
    assert [(row["key_id"], row["totals"]["cost_usd"]) for row in keys["data"]] == [
        (people.key.pk, "0.00135"),
        (people.carols_key.pk, "0.00045"),
    ]
    assert [row["email"] for row in members["data"]] == ["alice@example.com", "carol@example.com"]
    assert len(alice.ask("get", "usage/by-key", limit=1).json()["data"]) == 1
    carol = by_token(people.carol, people.acme)
    assert carol.ask("get", "usage/summary").json()["totals"]["cost_usd"] == "0.00045"


@pytest.mark.parametrize(
    "query",
    [
        {"first": "2026-02-02", "last": "2026-02-01"},
        {"first": "2024-01-01", "last": "2026-01-01"},
        {"first": "0001-01-01", "last": "0001-01-02"},
        {"last": "9999-12-31"},
        {"first": "yesterday"},
    ],
)
def test_a_period_is_days_in_order_and_not_too_many(alice: Api, query: dict[str, str]) -> None:
    assert error(alice.ask("get", "usage/summary", **query)) == (400, "invalid")


def test_balance_ledger_and_statement_agree(alice: Api, people: Cast) -> None:
    month = f"{timezone.now():%Y-%m}"
    balance = alice.ask("get", "billing/balance").json()
    ledger = alice.ask("get", "billing/ledger").json()
    months = alice.ask("get", "billing/statements").json()
    statement = alice.ask("get", f"billing/statements/{month}").json()

    assert balance == {
        "balance_usd": "10.0",
        "held_usd": "0.0",
        "credit_limit_usd": "0.0",
        "available_usd": "10.0",
        "credited_usd": "10.0",
        "used_usd": "0.0",
    }
    assert ledger["data"] == [
        {
            "id": people.entry.pk,
            "created_at": ledger["data"][0]["created_at"],
            "kind": "credit",
            "amount_usd": "10.0",
            "limit_change_usd": "0.0",
            "requests": 0,
            "note": "Welcome",
        }
    ]
    assert months["data"] == [
        {"month": month, "finished": False, "moved_usd": "10.0", "usage_usd": "0.0", "closing_usd": "10.0"}
    ]
    assert (statement["opening_usd"], statement["added_usd"], statement["closing_usd"]) == ("0.0", "10.0", "10.0")
    assert alice.ask("get", "billing/ledger", kind="debit").json()["data"] == []
    assert len(alice.ask("get", "billing/ledger", kind="not_usage").json()["data"]) == 1
    assert error(alice.ask("get", "billing/statements/2020-01")) == (404, "not_found")
    assert error(alice.ask("get", "billing/statements/2026-13")) == (404, "not_found")


def test_budgets_are_listed(alice: Api, people: Cast) -> None:
    alice.ask("patch", f"keys/{people.key.pk}", {"limit": {"amount_usd": "5", "window": "day"}})

    assert alice.ask("get", "billing/budgets").json()["data"] == [
        {
            "scope": "key",
            "name": "server",
            "key_id": people.key.pk,
            "limit": {
                "amount_usd": "5.0",
                "window": "day",
                "spent_usd": "0.0",
                "held_usd": "0.0",
                "remaining_usd": "5.0",
            },
        }
    ]


def test_a_code_is_redeemed_once(alice: Api, people: Cast) -> None:
    code = code_text(RedemptionCode.objects.earliest("pk"))

    first = alice.ask("post", "billing/redeem", {"code": code})
    second = alice.ask("post", "billing/redeem", {"code": code})

    assert first.status_code == 200
    assert first.json()["amount_usd"] == "10.0"
    assert first.json()["balance"]["balance_usd"] == "20.0"
    assert error(second) == (400, "invalid")
    assert Wallet.objects.get(pk=people.acme.pk).balance_nanos == 20 * USD
    assert LedgerEntry.objects.filter(kind="redemption").count() == 1


def test_codes_are_not_to_be_guessed(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is the user's: another token does not lift it."""
    monkeypatch.setattr(Redeem, "THROTTLE_RATES", {"redeem": "2/min"})
    statuses = [
        by_token(people.alice, people.acme).ask("post", "billing/redeem", {"code": "CR-0"}).status_code
        for _ in range(3)
    ]

    assert statuses == [400, 400, 429]


def test_models_come_with_prices_at_each_rate(alice: Api, people: Cast) -> None:
    answer = alice.ask("get", "models").json()

    [model] = answer["data"]
    assert answer["next_cursor"] is None
    assert (model["name"], model["context_window"], model["modalities"]) == (
        "gpt-small",
        128_000,
        ["text in", "text out"],
    )
    assert model["price"]["units"] == {"input": "0.15", "output": "0.6"}
    assert model["groups"] == [{"name": "default", "rate": "1.0000", "prices": {"input": "0.15", "output": "0.6"}}]
    assert "POST /v1/chat/completions" in model["endpoints"]
    assert alice.ask("get", "models/gpt-small").json() == model
    assert error(alice.ask("get", "models/gpt-large")) == (404, "not_found")
    assert alice.ask("get", "models", search="nothing").json()["data"] == []
    assert alice.ask("get", "groups").json()["data"] == [
        {"name": "default", "description": "The standard group.", "rate": "1.0000", "models": ["gpt-small"]}
    ]


def test_a_member_is_invited_promoted_and_removed(alice: Api, people: Cast) -> None:
    invited = alice.ask("post", "invitations", {"email": "erin@example.com"})
    assert invited.status_code == 201
    assert invited.json()["role"] == "member"
    assert invited.json()["invited_by"] == "alice@example.com"
    assert alice.ask("delete", f"invitations/{invited.json()['id']}").status_code == 204
    assert not Invitation.objects.filter(email="erin@example.com").exists()

    promoted = alice.ask("patch", f"members/{people.carol.pk}", {"role": "admin"}).json()
    assert promoted == {"user_id": people.carol.pk, "email": "carol@example.com", "name": "Carol", "role": "admin"}

    assert alice.ask("delete", f"members/{people.carol.pk}").status_code == 204
    people.carols_key.refresh_from_db()
    assert not people.carols_key.enabled


def test_the_invitations_mail_has_a_link_that_the_api_accepts(
    people: Cast, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        by_token(people.alice, people.acme).ask("post", "invitations", {"email": "m@example.com", "role": "admin"})
    body = mail.outbox[-1].body
    secret = body.partition("/console/invitations/")[2].partition("/")[0]

    joined = by_session(people.mallory).ask("post", "invitations/accept", {"secret": secret})
    again = by_session(people.mallory).ask("post", "invitations/accept", {"secret": secret})

    assert (joined.status_code, joined.json()["name"], joined.json()["role"]) == (200, "Acme", "admin")
    assert error(again) == (400, "invalid")
    assert Membership.objects.filter(user=people.mallory, organization=people.acme).count() == 1


def test_the_last_owner_stays(alice: Api, people: Cast) -> None:
    assert error(alice.ask("delete", f"members/{people.alice.pk}")) == (400, "invalid")
    assert error(alice.ask("patch", f"members/{people.alice.pk}", {"role": "member"})) == (400, "invalid")
    assert Membership.objects.get(user=people.alice, organization=people.acme).role == "owner"


def test_everyone_may_leave(people: Cast) -> None:
    carol = by_token(people.carol, people.acme)

    assert carol.ask("delete", f"members/{people.carol.pk}").status_code == 204
    assert not people.acme.memberships.filter(user=people.carol).exists()
    assert error(carol.ask("get", "me")) == (401, "unauthenticated")


def test_a_token_is_made_by_session_and_ends_when_deleted(people: Cast) -> None:
    session = by_session(people.carol, people.acme)

    made = session.ask("post", "access-tokens", {"name": "cron", "scopes": ["keys:read"]})
    token = made.json()["token"]
    client = Api(token=made.json()["secret"])

    assert made.status_code == 201
    assert (token["name"], token["scopes"], token["prefix"]) == ("cron", ["keys:read"], made.json()["secret"][:12])
    assert client.ask("get", "keys").status_code == 200
    assert session.ask("delete", f"access-tokens/{token['id']}").status_code == 204
    assert access_token_by_secret(made.json()["secret"]) is None
    assert client.ask("get", "keys").status_code == 401


def test_nobody_gives_a_token_operators_scopes_that_they_have_not(people: Cast) -> None:
    before = PersonalAccessToken.objects.count()

    response = by_session(people.alice).ask("post", "access-tokens", {"name": "x", "scopes": ["operator:write"]})

    assert error(response) == (400, "invalid")
    assert PersonalAccessToken.objects.count() == before


def test_the_audit_log_tells_who_did_what(alice: Api, people: Cast) -> None:
    alice.ask("post", f"keys/{people.key.pk}/disable")

    [entry] = alice.ask("get", "audit", action="api_key.disabled").json()["data"]

    assert (entry["who"], entry["via"], entry["object_name"]) == ("alice@example.com", "API", "server")
    assert alice.ask("get", "audit", who=people.bob.pk).json()["data"] == []


def test_the_audit_log_names_no_operator(alice: Api, people: Cast) -> None:
    olga = by_token(people.olga, people.olga.organizations.get())
    body = {"amount_usd": "1", "reason": "Gift", "idempotency_key": "gift"}
    assert olga.ask("post", f"operator/organizations/{people.acme.pk}/credits", body).json()["applied"] is True

    [entry] = alice.ask("get", "audit", action="wallet.moved").json()["data"]

    assert (entry["who"], entry["is_operator"], entry["client_ip"]) == ("", True, "")


def test_a_session_chooses_its_organization(people: Cast) -> None:
    session = by_session(people.alice, people.acme)
    personal = Organization.objects.get(is_personal=True, memberships__user=people.alice)

    chosen = session.ask("post", "organization/switch", {"organization_id": personal.pk})

    assert (chosen.status_code, chosen.json()["id"]) == (200, personal.pk)
    assert session.ask("get", "keys").json()["data"] == []


def test_a_rename_undoes_no_suspension_that_comes_between(
    alice: Api, people: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated = base._validated

    def suspended_meanwhile(*args: Any, **kwargs: Any) -> Any:
        Organization.objects.filter(pk=people.acme.pk).update(status="suspended")
        return validated(*args, **kwargs)

    monkeypatch.setattr(base, "_validated", suspended_meanwhile)
    response = alice.ask("patch", "organization", {"name": "Apex"})

    after = Organization.objects.get(pk=people.acme.pk)
    assert (response.status_code, after.name, after.status) == (200, "Apex", "suspended")
