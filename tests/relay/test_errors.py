"""Every refusal in OpenAI's shape, with its own status and code, a request id, and a record where somebody is known."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from django.utils import timezone

from accounts.models import Organization
from accounts.services import save_organization, save_user, set_api_keys_enabled
from billing.models import RefusalTally, UsageRecord
from billing.services import append_price
from channels_app.models import ModelGroup
from channels_app.services import save_channel, save_group
from tests.cast.refusals import CHAT, error_of, post, refused
from tests.cast.waiting import eventually
from tests.doubles.upstream import COST, ask

pytestmark = pytest.mark.any_database

UNKNOWN_KEYS = {
    "no key": {},
    "an empty key": {"authorization": "Bearer"},
    "no scheme": {"authorization": "sk-abc"},
    "basic": {"authorization": "Basic abc"},
    "unknown": {"authorization": "Bearer sk-" + "a" * 48},
    "malformed": {"authorization": "Bearer ☃".encode()},
    "very long": {"authorization": "Bearer " + "a" * 5_000},
    "unknown, as Anthropic sends it": {"x-api-key": "sk-abc"},
    "unknown, as Google sends it": {"x-goog-api-key": "sk-abc"},
}


@pytest.mark.parametrize("case", UNKNOWN_KEYS)
def test_without_a_known_key_the_answer_is_401_and_no_record_is_left(world, upstream, relay, case):
    world.new_channel(upstream.url)
    relay.settled_down()
    response = httpx.post(relay.url + CHAT, json=ask(), headers=UNKNOWN_KEYS[case])
    assert error_of(response, 401, "invalid_api_key")["type"] == "authentication_error"
    assert world.records() == []
    assert world.prove()["records"] == 0


@pytest.mark.parametrize("where", ["x-api-key", "x-goog-api-key", "query", "lower case"])
def test_a_key_is_accepted_wherever_clients_send_it(world, upstream, relay, where):
    world.new_channel(upstream.url)
    relay.settled_down()
    headers, query = {
        "query": ({}, f"?key={world.secret}"),
        "lower case": ({"authorization": f"bearer  {world.secret}"}, ""),
    }.get(where, ({where: world.secret}, ""))
    response = httpx.post(relay.url + CHAT + query, json=ask(), headers=headers)
    assert response.status_code == 200
    assert world.secret not in str(upstream.seen)
    assert world.prove()["records"] == 1


def test_a_disabled_key(world, upstream, relay):
    set_api_keys_enabled(keys=[world.key], enabled=False)
    relay.settled_down()
    error = refused(world, upstream, post(relay, world.secret), 403, "key_disabled")
    assert error["type"] == "permission_error"


def test_an_expired_key(world, upstream, relay):
    _, secret = world.new_key(expires_at=timezone.now() - timedelta(seconds=1))
    relay.settled_down()
    refused(world, upstream, post(relay, secret), 403, "key_expired")


def test_a_suspended_user(world, upstream, relay):
    world.alice.is_active = False
    save_user(user=world.alice)
    relay.settled_down()
    refused(world, upstream, post(relay, world.secret), 403, "user_suspended")


def test_a_suspended_organization(world, upstream, relay):
    world.organization.status = Organization.Status.SUSPENDED
    save_organization(organization=world.organization)
    relay.settled_down()
    refused(world, upstream, post(relay, world.secret), 403, "organization_suspended")


@pytest.mark.parametrize("forwarded", [None, "203.0.113.5", "127.0.0.1, 203.0.113.5"])
def test_an_address_that_is_not_allowed_whatever_it_claims(world, upstream, relay, forwarded):
    _, secret = world.new_key(allowed_ips=["203.0.113.0/24"])
    relay.settled_down()
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    error = refused(world, upstream, post(relay, secret, headers=headers), 403, "ip_not_allowed")
    assert "127.0.0.1" in error["message"]
    assert world.record().client_ip == "127.0.0.1"


PROXIED = {
    "203.0.113.5": True,
    "198.51.100.1, 203.0.113.5": True,
    "203.0.113.5, 10.1.2.3": True,
    "203.0.113.5, 198.51.100.1": False,
    "203.0.113.5, 198.51.100.1, 10.1.2.3": False,
    "nonsense": False,
    "": False,
}


@pytest.mark.parametrize("forwarded", PROXIED)
def test_behind_a_trusted_proxy_the_last_address_that_is_not_a_proxy_counts(
    world, upstream, relay, settings, forwarded
):
    settings.TRUSTED_PROXIES = ["127.0.0.1", "10.0.0.0/8"]
    _, secret = world.new_key(allowed_ips=["203.0.113.0/24"])
    world.new_channel(upstream.url)
    relay.settled_down()
    response = post(relay, secret, headers={"x-forwarded-for": forwarded})
    if PROXIED[forwarded]:
        assert response.status_code == 200
        assert world.record().client_ip == "203.0.113.5"
    else:
        error_of(response, 403, "ip_not_allowed")
    world.prove()


def test_a_model_that_nobody_serves(world, upstream, relay):
    world.new_channel(upstream.url)
    world.new_model("lonely", input="1", output="1")
    relay.settled_down()
    for name in ("nothing", "lonely"):
        error = error_of(post(relay, world.secret, ask(model=name)), 404, "model_not_found")
        assert error["param"] == "model"
        assert name in error["message"]
    world.prove()


@pytest.mark.parametrize("name", ["a\x00b", "x" * 1_000, "\u2028", "😀" * 200])
def test_a_model_of_any_name_is_not_found_and_stops_nobody(world, upstream, relay, name):
    world.new_channel(upstream.url)
    relay.settled_down()
    body = json.dumps(ask(model=name)).encode()
    error_of(post(relay, world.secret, body), 404, "model_not_found")
    record = world.record()
    assert record.model == "".join(c for c in name[:150] if c.isprintable())
    assert post(relay, world.secret).status_code == 200
    assert world.prove()["records"] == 2


def test_a_known_model_that_the_key_may_not_use(world, upstream, relay):
    world.new_channel(upstream.url)
    _, secret = world.new_key(allowed_models=["another"])
    relay.settled_down()
    assert refused(world, upstream, post(relay, secret), 403, "model_not_allowed")["param"] == "model"


def test_a_known_model_that_is_not_in_the_keys_group(world, upstream, relay):
    save_group(group=ModelGroup(name="gold"))
    world.new_channel(upstream.url)
    _, secret = world.new_key(group="gold")
    relay.settled_down()
    refused(world, upstream, post(relay, secret), 403, "model_not_allowed")


@pytest.mark.parametrize("exists", [True, False])
def test_a_group_that_the_key_may_not_use(world, upstream, relay, exists):
    if exists:
        save_group(group=ModelGroup(name="private", is_public=False), organizations=[world.bobs])
    world.new_channel(upstream.url)
    _, secret = world.new_key(group="private")
    relay.settled_down()
    refused(world, upstream, post(relay, secret), 403, "group_not_allowed")


def test_a_model_whose_channels_are_all_off(world, upstream, relay):
    channel = world.new_channel(upstream.url)
    channel.status = "disabled"
    save_channel(channel=channel)
    relay.settled_down()
    refused(world, upstream, post(relay, world.secret), 503, "no_channel")


def test_an_unpriced_model(world, upstream, relay):
    free = world.new_model("unpriced")
    append_price(model_name="unpriced", units={"input": "1"}, effective_from=timezone.now() + timedelta(days=1))
    world.new_channel(upstream.url, models={free: ""})
    relay.settled_down()
    assert refused(world, upstream, post(relay, world.secret, ask(model="unpriced")), 400, "unpriced_model")


FEATURES: dict[str, tuple[dict[str, Any], str]] = {
    "tier": ({"service_tier": "priority"}, "service_tier"),
    "a tier of odd text": ({"service_tier": "\x00"}, "service_tier"),
    "web search": ({"web_search_options": {}}, "web_search_options"),
    "web search, as Qwen asks": ({"enable_search": True}, "enable_search"),
    "web search, as xAI asks": ({"search_parameters": {"mode": "on"}}, "search_parameters"),
    "audio": ({"modalities": ["text", "audio"]}, "modalities"),
    "a built-in tool": ({"tools": [{"type": "function"}, {"type": "web_search"}]}, "tools[1].type"),
    "a nameless tool": ({"tools": [{}]}, "tools[0].type"),
    "plugins": ({"plugins": [{"id": "web"}]}, "plugins"),
}


@pytest.mark.parametrize("case", FEATURES)
def test_an_unpriced_feature_is_named(world, upstream, relay, case):
    world.new_channel(upstream.url)
    relay.settled_down()
    fields, param = FEATURES[case]
    response = post(relay, world.secret, json.dumps(ask(**fields)).encode())
    assert refused(world, upstream, response, 400, "unpriced_feature")["param"] == param


def test_an_unknown_path_a_wrong_method_and_the_bare_prefix(world, relay):
    for method, path in (("GET", "/v1/nothing"), ("POST", "/v1"), ("POST", "/v1/models/")):
        error_of(httpx.request(method, relay.url + path), 404, "not_found")
    wrong = httpx.get(relay.url + CHAT)
    error_of(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"
    assert httpx.delete(relay.url + "/v1/models/x").headers["allow"] == "GET"
    assert world.prove()["records"] == 0


def test_past_ten_refusals_a_second_of_a_key_the_rest_is_merely_counted(world, upstream, relay, monkeypatch):
    now = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr("relay.exchange.capture.time", now)
    world.new_channel(upstream.url)
    relay.settled_down()
    with httpx.Client(headers={"authorization": f"Bearer {world.secret}"}) as client:
        for _ in range(15):
            assert client.post(relay.url + CHAT, json=ask(model="nothing")).status_code == 404
        assert client.post(relay.url + CHAT, json=ask()).status_code == 200
        now.monotonic = lambda: 101.0
        assert client.post(relay.url + CHAT, json=ask(model="nothing")).status_code == 404
    relay.stop()

    assert UsageRecord.objects.filter(status="refused", error_code="model_not_found").count() == 11
    assert [(t.api_key_id, t.error_code, t.count) for t in RefusalTally.objects.all()] == [
        (world.key.pk, "model_not_found", 5)
    ]
    assert world.prove()["records"] == 12


def test_a_database_that_is_gone_is_a_503_for_a_key_that_must_be_looked_up(world, relay, monkeypatch):
    from django.db import OperationalError

    def gone(_):
        raise OperationalError("secret of the database")

    monkeypatch.setattr("accounts.selectors.key_by_digest", gone)
    response = post(relay, "sk-" + "n" * 48)
    assert "secret" not in error_of(response, 503, "unavailable")["message"]
    assert response.headers["retry-after"] == "1"
    eventually(lambda: world.prove()["records"] == 0)


def test_a_tier_is_priced_only_where_a_channel_honours_it(world, upstream, relay, client):
    """A server that ignores the field answers at its full cost: the client must not choose its own discount."""
    append_price(model_name="double-1", tier="flex", units={"input": "0.5", "output": "1"})
    world.new_channel(upstream.url)
    relay.settled_down()

    response = client.post(CHAT, json=ask(service_tier="flex"))

    assert refused(world, upstream, response, 400, "unpriced_feature")
    world.prove()


def test_a_tier_goes_to_the_channels_that_honour_it_at_its_own_price(world, upstream, relay, client):
    append_price(model_name="double-1", tier="flex", units={"input": "0.5", "output": "1"})
    world.new_channel(upstream.url, name="ignores", priority=1)
    world.new_channel(upstream.url, name="honours", provider="openai")
    relay.settled_down()

    assert client.post(CHAT, json=ask(service_tier="flex")).status_code == 200

    record = world.record()
    assert (record.channel, record.cost_nanos) == ("honours", COST // 2)
    world.prove()
