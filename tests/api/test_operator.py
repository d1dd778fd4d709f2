"""What operators do through the management API: exact answers, and what they leave in the database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEntry, Organization
from billing.models import LedgerEntry, Price, RedemptionBatch, Wallet
from channels_app.models import CatalogueModel, Channel, ModelGroup
from channels_app.snapshot import channel_credentials
from costrouter.api.operator import organizations
from costrouter.api.throttles import Reconcile
from relay.routing.probe import ProbeResult
from tests.cast.api import USD, Api, Cast, by_token, cast, error

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Cast:
    return cast()


@pytest.fixture
def olga(people: Cast) -> Api:
    return by_token(people.olga, people.olga.organizations.get())


def test_a_channel_is_made_and_its_credentials_never_told(olga: Api, people: Cast) -> None:
    body = {
        "name": "DeepSeek",
        "provider": "openai_compatible",
        "base_url": "https://api.deepseek.com/v1",
        "credentials": "sk-secret-of-deepseek",
        "models": {"gpt-small": "deepseek-chat"},
        "cost_multiplier": "0.8",
    }

    response = olga.ask("post", "operator/channels", body)

    made = response.json()
    channel = Channel.objects.get(name="DeepSeek")
    assert response.status_code == 201
    assert made == {
        "id": channel.pk,
        "name": "DeepSeek",
        "provider": "openai_compatible",
        "base_url": "https://api.deepseek.com/v1",
        "dialects": [],
        "has_credentials": True,
        "status": "enabled",
        "priority": 0,
        "weight": 1,
        "groups": ["default"],
        "models": {"gpt-small": "deepseek-chat"},
        "cost_multiplier": "0.8000",
        "connect_timeout": 10.0,
        "first_byte_timeout": 120.0,
        "answer_timeout": 600.0,
        "idle_timeout": 300.0,
        "allow_private_addresses": False,
        "created_at": made["created_at"],
        "health": None,
    }
    assert channel_credentials(channel) == "sk-secret-of-deepseek"
    assert "sk-secret" not in str(AuditEntry.objects.get(action="channel.created", object_name="DeepSeek").changes)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Main"}, "name"),
        ({"provider": "carrier-pigeon"}, "provider"),
        ({"base_url": "http://169.254.169.254/"}, "base_url"),
        ({"groups": ["vip"]}, "groups"),
        ({"models": {"gpt-9": ""}}, "models"),
        ({"weight": 10_001}, "weight"),
        ({"cost_multiplier": "-1"}, "cost_multiplier"),
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"dialects": ["anthropic", "anthropic"]}, "dialects"),
    ],
)
def test_a_channel_that_is_refused_names_the_field(olga: Api, change: dict[str, Any], field: str) -> None:
    body = {"name": "New", "provider": "openai_compatible", "base_url": "https://api.example.com/v1", **change}

    response = olga.ask("post", "operator/channels", body)

    assert error(response) == (400, "invalid")
    assert list(response.json()["error"]["fields"]) == [field]
    assert Channel.objects.count() == 1


def test_a_channel_is_changed_cloned_switched_off_and_deleted(olga: Api, people: Cast) -> None:
    path = f"operator/channels/{people.channel.pk}"

    changed = olga.ask("patch", path, {"priority": 10}).json()
    assert (changed["priority"], changed["models"]) == (10, {"gpt-small": "gpt-small-upstream"})
    assert olga.ask("patch", path, {"models": {}}).json()["models"] == {}
    assert olga.ask("post", f"{path}/disable").json()["status"] == "disabled"
    assert olga.ask("post", f"{path}/enable").json()["status"] == "enabled"

    copy = olga.ask("post", f"{path}/clone", {}).json()
    assert (copy["name"], copy["status"], copy["has_credentials"]) == ("Main (copy)", "disabled", True)
    assert [row["name"] for row in olga.ask("get", "operator/channels", status="disabled").json()["data"]] == [
        "Main (copy)"
    ]
    assert olga.ask("delete", f"operator/channels/{copy['id']}").status_code == 204
    assert list(Channel.objects.values_list("name", flat=True)) == ["Main"]


def test_a_channel_is_tested(olga: Api, people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def probe(**given: Any) -> ProbeResult:
        asked.append(given["model"])
        return ProbeResult(False, 31, 401, given["model"], "invalid api key")

    monkeypatch.setattr("channels_app.health.import_string", lambda _: probe)
    path = f"operator/channels/{people.channel.pk}"

    result = olga.ask("post", f"{path}/test", {"model": "gpt-small"}).json()

    assert asked == ["gpt-small"]
    assert result == {
        "ok": False,
        "latency_ms": 31,
        "status": 401,
        "model": "gpt-small",
        "message": "invalid api key",
    }
    health = olga.ask("get", path).json()["health"]
    assert (health["last_test_ok"], health["failures_in_row"]) == (False, 0)


def test_channels_travel_as_a_document(olga: Api, people: Cast) -> None:
    document = olga.ask("get", "operator/channels/export").json()
    [entry] = document["channels"]
    assert "credentials" not in entry
    with_credentials = olga.ask("post", "operator/channels/export").json()
    assert with_credentials["channels"][0]["credentials"] == "sk-upstream-0123456789abcdef"
    assert AuditEntry.objects.filter(action="channel.exported").count() == 1

    entry["priority"] = 5
    planned = olga.ask("post", "operator/channels/import", document, dry_run="true").json()
    assert (planned["applied"], planned["channels"][0]["changes"]) == (False, {"priority": [0, 5]})
    people.channel.refresh_from_db()
    assert people.channel.priority == 0

    done = olga.ask("post", "operator/channels/import", document).json()
    assert (done["applied"], done["channels"][0]["action"]) == (True, "change")
    people.channel.refresh_from_db()
    assert people.channel.priority == 5
    assert error(olga.ask("post", "operator/channels/import", {**document, "version": 2})) == (400, "invalid")


def test_a_group_a_model_and_a_price(olga: Api, people: Cast) -> None:
    group = olga.ask(
        "post",
        "operator/groups",
        {"name": "premium", "rate": "1.25", "is_public": False, "organization_ids": [people.acme.pk]},
    ).json()
    assert group == {
        "id": ModelGroup.objects.get(name="premium").pk,
        "name": "premium",
        "description": "",
        "rate": "1.2500",
        "is_public": False,
        "organization_ids": [people.acme.pk],
    }
    assert olga.ask("patch", f"operator/groups/{group['id']}", {"rate": "1.3"}).json()["rate"] == "1.3000"
    assert error(olga.ask("patch", f"operator/groups/{group['id']}", {"organization_ids": [10**6]}))[0] == 400

    model = olga.ask("post", "operator/models", {"name": "gpt-large", "context_window": 200_000}).json()
    assert (model["name"], model["context_window"], model["max_output"]) == ("gpt-large", 200_000, None)
    assert error(olga.ask("post", "operator/models", {"name": "gpt-large"})) == (400, "invalid")

    first = olga.ask("post", "operator/prices", {"model": "gpt-large", "units": {"input": "1.5"}}).json()
    later = olga.ask("post", "operator/prices", {"model": "gpt-large", "units": {"input": "2"}}).json()
    assert (first["in_force"], first["units"]) == (True, {"input": "1.5"})
    found = olga.ask("get", "operator/prices", model="gpt-large").json()["data"]
    assert [(row["id"], row["in_force"]) for row in found] == [(later["id"], True), (first["id"], False)]
    assert Price.objects.get(pk=later["id"]).created_by_id == people.olga.pk

    assert olga.ask("delete", f"operator/models/{model['id']}").status_code == 204
    assert olga.ask("delete", f"operator/groups/{group['id']}").status_code == 204
    assert not CatalogueModel.objects.filter(name="gpt-large").exists()


@pytest.mark.parametrize(
    "body",
    [
        {"units": {}},
        {"units": {"bananas": "1"}},
        {"units": {"input": "1e5"}},
        {"units": {"input": 1}},
        {"units": {"input": "-1"}},
        {"units": {"input": "1"}, "effective_from": "2020-01-01T00:00:00Z"},
    ],
)
def test_a_price_that_is_refused(olga: Api, body: dict[str, Any]) -> None:
    assert error(olga.ask("post", "operator/prices", {"model": "gpt-small", **body})) == (400, "invalid")
    assert Price.objects.count() == 1


def test_prices_are_never_edited(olga: Api, people: Cast) -> None:
    path = f"operator/prices/{people.price_id}"

    for method in ("patch", "put", "delete"):
        assert error(olga.ask(method, path)) == (405, "method_not_allowed")
    assert Price.objects.get(pk=people.price_id).units == {"input": "0.15", "output": "0.6"}


def test_credits_move_once_for_each_key(olga: Api, people: Cast) -> None:
    path = f"operator/organizations/{people.acme.pk}/credits"
    body = {"amount_usd": "2.000000001", "reason": "Transfer", "idempotency_key": "t-1"}

    first = olga.ask("post", path, body).json()
    again = olga.ask("post", path, body).json()
    other = olga.ask("post", path, {**body, "amount_usd": "3"})
    debit = olga.ask("post", path, {"amount_usd": "-1", "reason": "Fee", "idempotency_key": "t-2"}).json()

    assert (first["applied"], first["wallet"]["balance_usd"]) == (True, "12.000000001")
    assert (again["applied"], again["wallet"]["balance_usd"]) == (False, "12.000000001")
    assert error(other) == (409, "conflict")
    assert (debit["applied"], debit["wallet"]["balance_usd"]) == (True, "11.000000001")
    assert Wallet.objects.get(pk=people.acme.pk).balance_nanos == 11 * USD + 1
    entries = LedgerEntry.objects.filter(actor=people.olga).values_list("kind", "amount_nanos", "note")
    assert sorted(entries) == [("credit", 2 * USD + 1, "Transfer"), ("debit", -USD, "Fee")]


def test_the_same_key_serves_two_organizations(olga: Api, people: Cast) -> None:
    body = {"amount_usd": "1", "reason": "Gift", "idempotency_key": "gift"}

    for organization in (people.acme, people.globex):
        path = f"operator/organizations/{organization.pk}/credits"
        assert olga.ask("post", path, body).json()["applied"] is True
    assert Wallet.objects.get(pk=people.globex.pk).balance_nanos == USD


def test_a_key_is_of_one_kind_of_change(olga: Api, people: Cast) -> None:
    path = f"operator/organizations/{people.acme.pk}"
    olga.ask("put", f"{path}/credit-limit", {"limit_usd": "5", "reason": "Invoice", "idempotency_key": "k"})

    other = olga.ask("put", f"{path}/credit-limit", {"limit_usd": "6", "reason": "Invoice", "idempotency_key": "k"})
    credit = olga.ask("post", f"{path}/credits", {"amount_usd": "6", "reason": "Gift", "idempotency_key": "k"})

    assert error(other) == (409, "conflict")
    assert error(credit) == (409, "conflict")
    wallet = Wallet.objects.get(pk=people.acme.pk)
    assert (wallet.credit_limit_nanos, wallet.balance_nanos) == (5 * USD, 10 * USD)


@pytest.mark.parametrize(
    ("method", "path", "amount", "service"),
    [("post", "credits", "amount_usd", "adjust"), ("put", "credit-limit", "limit_usd", "set_credit_limit")],
)
def test_of_two_changes_at_the_same_time_under_one_key_the_second_is_refused(
    olga: Api, people: Cast, monkeypatch: pytest.MonkeyPatch, method: str, path: str, amount: str, service: str
) -> None:
    write, nanos = getattr(organizations, service), amount.replace("usd", "nanos")

    def overtaken(**given: Any) -> bool:
        write(**{**given, nanos: 2 * USD})
        return bool(write(**given))

    monkeypatch.setattr(organizations, service, overtaken)
    body = {amount: "3", "reason": "Gift", "idempotency_key": "k"}

    assert error(olga.ask(method, f"operator/organizations/{people.acme.pk}/{path}", body)) == (409, "conflict")
    wallet = Wallet.objects.get(pk=people.acme.pk)
    assert (wallet.balance_nanos, wallet.credit_limit_nanos) in ((12 * USD, 0), (10 * USD, 2 * USD))


@pytest.mark.parametrize("amount", ["0", "2000000001", "1e3", "", "1.0000000001", 1, None])
def test_an_amount_that_is_refused(olga: Api, people: Cast, amount: Any) -> None:
    path = f"operator/organizations/{people.acme.pk}/credits"

    response = olga.ask("post", path, {"amount_usd": amount, "reason": "x", "idempotency_key": "k"})

    assert error(response) == (400, "invalid")
    assert LedgerEntry.objects.count() == 1


def test_a_credit_limit_is_set(olga: Api, people: Cast) -> None:
    path = f"operator/organizations/{people.acme.pk}"

    answer = olga.ask("put", f"{path}/credit-limit", {"limit_usd": "5", "reason": "Invoice", "idempotency_key": "l"})

    assert answer.json()["applied"] is True
    assert answer.json()["wallet"]["available_usd"] == "15.0"
    assert olga.ask("get", f"{path}/wallet").json() == answer.json()["wallet"]
    kinds = [row["kind"] for row in olga.ask("get", f"{path}/ledger").json()["data"]]
    assert kinds == ["credit_limit", "credit"]


def test_an_organization_is_suspended_and_brought_back(olga: Api, people: Cast) -> None:
    alice = by_token(people.alice, people.acme)
    path = f"operator/organizations/{people.acme.pk}"

    assert olga.ask("post", f"{path}/suspend").json()["status"] == "suspended"
    assert alice.ask("get", "me").status_code == 401
    assert olga.ask("post", f"{path}/activate").json()["status"] == "active"
    assert alice.ask("get", "me").status_code == 200
    changed = olga.ask("patch", path, {"requests_per_minute": 600}).json()
    assert (changed["requests_per_minute"], changed["name"]) == (600, "Acme")


def test_an_organization_is_made_for_somebody(olga: Api, people: Cast) -> None:
    body = {"name": "Initech", "owner_email": "Carol@example.com"}

    made = olga.ask("post", "operator/organizations", body).json()

    assert Organization.objects.get(pk=made["id"]).memberships.get().user == people.carol
    nobody = olga.ask("post", "operator/organizations", {**body, "owner_email": "nobody@example.com"})
    assert list(nobody.json()["error"]["fields"]) == ["owner_email"]
    found = olga.ask("get", "operator/organizations", search="init").json()["data"]
    assert [row["name"] for row in found] == ["Initech"]
    assert [row["email"] for row in olga.ask("get", "operator/users", search="CAROL").json()["data"]] == [
        "carol@example.com"
    ]


def test_redemption_codes_are_made_read_and_disabled(olga: Api, people: Cast) -> None:
    expires_at = (timezone.now() + timedelta(days=30)).isoformat()
    body = {"name": "Spring", "amount_usd": "2.5", "count": 3, "expires_at": expires_at}

    made = olga.ask("post", "operator/redemption-batches", body)
    batch = made.json()
    codes = olga.ask("get", f"operator/redemption-batches/{batch['id']}/codes").json()["data"]

    assert made.status_code == 201
    assert (batch["amount_usd"], batch["count"], batch["claimed"], batch["disabled"]) == ("2.5", 3, 0, False)
    assert len({row["code"] for row in codes}) == 3
    redeemed = by_token(people.alice, people.acme).ask("post", "billing/redeem", {"code": codes[0]["code"]})
    assert redeemed.json()["amount_usd"] == "2.5"
    path = f"operator/redemption-batches/{batch['id']}"
    assert olga.ask("get", path).json()["claimed"] == 1
    assert olga.ask("post", f"{path}/disable").json()["disabled"] is True
    refused = by_token(people.alice, people.acme).ask("post", "billing/redeem", {"code": codes[1]["code"]})
    assert error(refused) == (400, "invalid")
    assert olga.ask("post", f"{path}/enable").json()["disabled"] is False
    assert RedemptionBatch.objects.get(pk=batch["id"]).created_by_id == people.olga.pk


def test_the_books_are_checked(olga: Api, people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reconcile, "THROTTLE_RATES", {"reconcile": "2/hour"})
    people.record.delete()

    good = olga.ask("get", "operator/reconcile").json()
    Wallet.objects.filter(pk=people.acme.pk).update(balance_nanos=9 * USD)
    bad = olga.ask("get", "operator/reconcile").json()

    assert (good["ok"], good["breaches"], good["wallets"]) == (True, [], 1)
    assert (bad["ok"], bad["breach_count"]) == (False, 1)
    assert bad["breaches"][0]["invariant"].startswith("I1")
    assert error(olga.ask("get", "operator/reconcile")) == (429, "too_many_requests")


def test_what_is_not_there_is_404(olga: Api) -> None:
    for path in ("channels", "groups", "models", "prices", "organizations", "redemption-batches"):
        assert error(olga.ask("get", f"operator/{path}/999999")) == (404, "not_found"), path
