"""Keys, groups, channels and prices as a web process knows them: looked up once, and changed within a second."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from django.utils import timezone

from accounts.models import Organization
from accounts.services import (
    create_user,
    delete_api_key,
    save_api_key,
    save_organization,
    save_user,
    set_api_keys_enabled,
)
from billing.services import append_price
from channels_app.models import ModelGroup
from channels_app.services import save_channel, save_group, save_model, set_channels_status
from relay.entry import auth
from tests.cast.waiting import eventually
from tests.doubles.upstream import COST, ask

CHAT = "/v1/chat/completions"
WITHIN = 1.0


@pytest.fixture
def production_pace(monkeypatch, relay):
    """The relay polls as often as it does in production."""
    monkeypatch.setattr("relay.snapshot.POLL_SECONDS", 0.4)


@pytest.fixture
def serving(world, upstream, relay, production_pace):
    """A channel that serves, and a key that has been used and is cached."""
    channel = world.new_channel(upstream.url)
    relay.settled_down()
    assert status_of(relay, world.secret) == 200
    return channel


def status_of(relay, secret, **fields):
    response = httpx.post(relay.url + CHAT, json=ask(**fields), headers={"authorization": f"Bearer {secret}"})
    return response.status_code if response.status_code != 403 else response.json()["error"]["code"]


def becomes(relay, secret, wanted):
    """Within a second of the commit the relay answers otherwise; then always."""
    eventually(lambda: status_of(relay, secret) == wanted, within=WITHIN, what=f"{wanted}")
    assert status_of(relay, secret) == wanted


def test_a_revoked_key_and_one_that_comes_back(world, relay, serving):
    set_api_keys_enabled(keys=[world.key], enabled=False)
    becomes(relay, world.secret, "key_disabled")
    set_api_keys_enabled(keys=[world.key], enabled=True)
    becomes(relay, world.secret, 200)
    world.prove()


def test_a_deleted_key(world, relay, serving):
    delete_api_key(key=world.key)
    becomes(relay, world.secret, 401)
    world.prove()


def test_a_key_that_expires_while_it_is_cached(world, relay, serving):
    world.key.expires_at = timezone.now() + timedelta(seconds=1.5)
    save_api_key(key=world.key)
    eventually(lambda: status_of(relay, world.secret) == "key_expired", within=3)
    assert timezone.now() >= world.key.expires_at
    world.prove()


def test_a_suspended_user_and_organization(world, relay, serving):
    world.alice.is_active = False
    save_user(user=world.alice)
    becomes(relay, world.secret, "user_suspended")
    world.alice.is_active = True
    save_user(user=world.alice)
    world.organization.status = Organization.Status.SUSPENDED
    save_organization(organization=world.organization)
    becomes(relay, world.secret, "organization_suspended")
    world.prove()


def test_what_a_key_may_use(world, relay, serving):
    world.key.allowed_models = ["another"]
    save_api_key(key=world.key)
    becomes(relay, world.secret, "model_not_allowed")
    world.key.allowed_models, world.key.allowed_ips = [], ["203.0.113.7"]
    save_api_key(key=world.key)
    becomes(relay, world.secret, "ip_not_allowed")
    world.prove()


def test_a_group_that_turns_private_and_an_organization_that_is_let_in(world, relay, serving):
    group = world.group
    group.is_public = False
    save_group(group=group)
    becomes(relay, world.secret, "group_not_allowed")
    save_group(group=group, organizations=[world.organization])
    becomes(relay, world.secret, 200)
    world.prove()


def test_a_channel_that_is_switched_off_and_one_that_is_added(world, upstream, relay, serving):
    set_channels_status(channels=[serving], status="disabled")
    becomes(relay, world.secret, 503)
    world.new_channel(upstream.url, name="second")
    becomes(relay, world.secret, 200)
    world.prove()


def test_a_channels_new_credentials_and_names(world, upstream, relay, serving):
    save_channel(channel=serving, credentials="sk-new", models={world.model: "renamed"})

    def arrived():
        status_of(relay, world.secret)
        return upstream.seen[-1].headers["authorization"] == "Bearer sk-new"

    eventually(arrived, within=WITHIN)
    assert upstream.seen[-1].json["model"] == "renamed"
    world.prove()


def test_a_new_price(world, relay, serving):
    append_price(model_name="double-1", units={"input": "10", "output": "20"})

    def dearer():
        status_of(relay, world.secret)
        return world.records()[-1].cost_nanos == 10 * COST

    eventually(dearer, within=WITHIN)
    world.prove()


def test_a_model_that_is_renamed(world, relay, serving):
    world.model.name = "double-2"
    save_model(model=world.model)
    append_price(model_name="double-2", units={"input": "1", "output": "2"})
    becomes(relay, world.secret, 404)
    assert status_of(relay, world.secret, model="double-2") == 200
    world.prove()


def test_a_key_is_looked_up_once(world, upstream, relay, monkeypatch):
    world.new_channel(upstream.url)
    relay.settled_down()
    asked = counted_look_ups(monkeypatch)
    for _ in range(3):
        assert status_of(relay, world.secret) == 200
        assert status_of(relay, "sk-" + "u" * 48) == 401
    assert len(asked) == 2
    world.prove()


def test_an_unknown_key_is_known_within_a_second_of_its_making(world, upstream, relay, production_pace, monkeypatch):
    world.new_channel(upstream.url)
    relay.settled_down()
    secret = "sk-" + "z" * 48
    assert status_of(relay, secret) == 401
    monkeypatch.setattr("costrouter.lib.ids.api_key", lambda: secret)
    world.new_key()
    becomes(relay, secret, 200)
    world.prove()


def test_only_what_changed_is_looked_up_again(world, upstream, relay, monkeypatch):
    world.new_channel(upstream.url)
    _, other = world.new_key()
    relay.settled_down()
    assert [status_of(relay, secret) for secret in (world.secret, other)] == [200, 200]
    asked = counted_look_ups(monkeypatch)
    save_api_key(key=world.key)
    relay.settled_down()
    eventually(lambda: world.secret and len(relay.runtime.keys._known) == 1)
    assert [status_of(relay, secret) for secret in (world.secret, other)] == [200, 200]
    assert len(asked) == 1
    world.prove()


def test_where_polling_fails_cached_keys_are_checked_against_the_database(world, upstream, relay, monkeypatch):
    world.new_channel(upstream.url)
    relay.settled_down()
    assert status_of(relay, world.secret) == 200
    monkeypatch.setattr(relay.runtime.poller, "poll", lambda: None)
    monkeypatch.setattr("relay.snapshot.STALE_SECONDS", -1.0)
    set_api_keys_enabled(keys=[world.key], enabled=False)
    assert status_of(relay, world.secret) == "key_disabled"
    assert httpx.get(relay.url + "/readyz").status_code == 503
    world.prove()


def test_a_look_up_that_a_change_overtook_is_not_kept(world, transactional_db, monkeypatch):
    cache = auth.KeyCache()
    look_up = auth.selectors.key_by_digest

    def slow(digest):
        found = look_up(digest)
        cache.drop([("api_key", str(world.key.pk))])
        return found

    monkeypatch.setattr("accounts.selectors.key_by_digest", slow)
    cache.look_up(world.key.digest)
    assert cache.get(world.key.digest) is False


def test_the_caches_are_bounded(world, transactional_db, monkeypatch):
    monkeypatch.setattr(auth, "MAX_KEYS", 2)
    monkeypatch.setattr(auth, "MAX_UNKNOWN", 3)
    cache = auth.KeyCache()
    for key in [world.key, world.bobs_key, world.new_key()[0]]:
        cache.look_up(key.digest)
    for number in range(5):
        cache.look_up(f"unknown {number}")
    assert list(cache._known) == [world.bobs_key.digest, key.digest]
    assert list(cache._unknown) == ["unknown 2", "unknown 3", "unknown 4"]


def counted_look_ups(monkeypatch):
    """The digests that the database is asked for from now on."""
    asked = []
    look_up = auth.selectors.key_by_digest
    monkeypatch.setattr("accounts.selectors.key_by_digest", lambda digest: asked.append(digest) or look_up(digest))
    return asked


def test_the_list_of_models_is_exactly_what_the_key_may_use(world, upstream, relay):
    gold = save_group(group=ModelGroup(name="gold", is_public=False), organizations=[world.organization])
    slashed = world.new_model("org/slashed%41", input="1", output="2")
    hidden = world.new_model("gold-only", input="1", output="2")
    unpriced = world.new_model("unpriced")
    off = world.new_model("off", input="1", output="2")
    world.new_model("unserved", input="1", output="2")
    world.new_channel(upstream.url, models={world.model: "", slashed: "x", unpriced: ""})
    world.new_channel(upstream.url, name="gold", models={hidden: "", world.model: ""}, groups=[gold])
    world.new_channel(upstream.url, name="off", models={off: ""}, status="disabled")
    keys = {
        "all": world.new_key()[1],
        "some": world.new_key(allowed_models=["double-1", "off", "gold-only"])[1],
        "gold": world.new_key(group="gold")[1],
        "gold, Bob's": world.new_key(user=create_user(email="eve@example.com"), group="gold")[1],
    }
    relay.settled_down()

    def get(path, name):
        return httpx.get(relay.url + path, headers={"authorization": f"Bearer {keys[name]}"})

    def listed(name):
        body = get("/v1/models", name).json()
        assert body["object"] == "list"
        return [model["id"] for model in body["data"]]

    assert listed("all") == ["double-1", "org/slashed%41"]
    assert listed("some") == ["double-1"]
    assert listed("gold") == ["double-1", "gold-only"]
    assert get("/v1/models", "gold, Bob's").json()["error"]["code"] == "group_not_allowed"
    created = int(slashed.created_at.timestamp())
    for path in ("/v1/models/org/slashed%2541", "/v1/models/org%2Fslashed%2541"):
        shown = get(path, "all").json()
        assert (shown["id"], shown["object"], shown["created"], shown["owned_by"]) == (
            "org/slashed%41",
            "model",
            created,
            "double",
        )
    refusals = {"gold-only": 403, "unserved": 404, "unpriced": 400, "off": 503}
    assert {name: get(f"/v1/models/{name}", "all").status_code for name in refusals} == refusals
    assert httpx.get(relay.url + "/v1/models").status_code == 401
    assert world.prove()["records"] == 0
