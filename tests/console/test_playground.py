"""The playground's keys: they answer through the relay, are billed to the member, expire, and are not listed."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, AuditEntry, Membership, Organization
from accounts.selectors import api_keys, reach_of
from billing.models import Budget
from billing.services import save_budget
from channels_app.models import ModelGroup
from channels_app.services import save_group
from costrouter.members import playground
from tests.cast.world import World
from tests.doubles.upstream import Upstream

URL, KEY_URL = "/console/playground/", "/console/playground/key/"


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def member_of(user) -> Membership:
    return Membership.objects.select_related("organization", "user").get(user=user)


def ask(url: str, secret: str, **fields) -> httpx.Response:
    body = {"model": "double-1", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50, **fields}
    return httpx.post(
        f"{url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {secret}"}, timeout=30
    )


def test_its_key_answers_through_the_relay_and_is_billed(world, upstream: Upstream, relay) -> None:
    world.new_channel(upstream.url)
    relay.settled_down()

    made = signed_in(world.alice).post(KEY_URL, {"group": "default"})

    assert made.status_code == 200
    assert "no-store" in made["cache-control"]
    assert made.json()["group"] == "default"
    assert made.json()["seconds"] == 600
    answer = ask(relay.url, made.json()["key"])
    assert answer.status_code == 200
    key = ApiKey.objects.get(purpose="playground")
    record = world.record()
    assert (record.organization_id, record.user_id, record.api_key_id) == (
        world.organization.pk,
        world.alice.pk,
        key.pk,
    )
    assert record.cost_nanos > 0
    assert world.prove()["charged_nanos"] == record.cost_nanos


def test_the_relay_does_not_read_the_sessions_cookie(world, upstream: Upstream, relay) -> None:
    world.new_channel(upstream.url)
    relay.settled_down()
    session = signed_in(world.alice).cookies["sessionid"].value

    answer = httpx.post(
        f"{relay.url}/v1/chat/completions", json={"model": "double-1", "messages": []}, cookies={"sessionid": session}
    )

    assert answer.status_code == 401
    assert upstream.seen == []


def test_its_key_expires(world, upstream: Upstream, relay) -> None:
    world.new_channel(upstream.url)
    made = playground.make_key(member=member_of(world.alice), group="default")
    assert timedelta(minutes=9) < made.expires_at - timezone.now() <= playground.KEY_LIFE
    ApiKey.objects.filter(pk=made.key.pk).update(expires_at=timezone.now())
    relay.settled_down()

    answer = ask(relay.url, made.secret)

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "key_expired")
    assert upstream.seen == []


def test_nobody_sees_its_key_in_a_list_or_at_its_address(world) -> None:
    alice = signed_in(world.alice)
    alice.post(KEY_URL, {"group": "default"})
    key = ApiKey.objects.get(purpose="playground")

    assert key not in api_keys(reach_of(member_of(world.alice), "keys.all"), deleted=True)
    assert key.prefix not in alice.get("/console/keys/").content.decode()
    for client in (alice, signed_in(world.bob)):
        assert client.get(f"/console/keys/{key.pk}/").status_code == 404
        assert client.post(f"/console/keys/{key.pk}/delete/").status_code == 404
    assert not AuditEntry.objects.filter(action__startswith="api_key.", object_id=str(key.pk)).exists()
    key.refresh_from_db()
    assert key.deleted_at is None


def test_its_key_belongs_to_the_chosen_organization_of_who_asked(world) -> None:
    team = Organization.objects.create(name="Team")
    Membership.objects.create(organization=team, user=world.bob, role="member")
    bob = signed_in(world.bob)

    bob.post(KEY_URL, {"group": "default"})

    key = ApiKey.objects.get(purpose="playground")
    assert (key.organization, key.user) == (team, world.bob)


def test_a_group_of_others_is_refused(world) -> None:
    private = save_group(
        group=ModelGroup(name="private", rate="1", is_public=False), organizations=[world.organization]
    )

    refused = signed_in(world.bob).post(KEY_URL, {"group": private.name})
    unknown = signed_in(world.bob).post(KEY_URL, {"group": "nowhere"})

    assert [answer.status_code for answer in (refused, unknown)] == [422, 422]
    assert refused.json() == {"error": "Your organization may not use this group."}
    assert not ApiKey.objects.filter(purpose="playground").exists()
    assert signed_in(world.alice).post(KEY_URL, {"group": private.name}).status_code == 200


def test_expired_keys_are_deleted_when_a_new_one_is_made(world) -> None:
    first = playground.make_key(member=member_of(world.alice), group="default").key
    bobs = playground.make_key(member=member_of(world.bob), group="default").key
    ApiKey.objects.filter(pk__in=[first.pk, bobs.pk]).update(expires_at=timezone.now() - timedelta(seconds=1))

    second = playground.make_key(member=member_of(world.alice), group="default").key

    gone = dict(ApiKey.objects.filter(purpose="playground").values_list("pk", "deleted_at"))
    assert gone[first.pk] is not None
    assert gone[second.pk] is None
    assert gone[bobs.pk] is None, "another organization's keys are its own business"
    assert not ApiKey.objects.filter(pk__in=[world.key.pk, world.bobs_key.pk], deleted_at__isnull=False).exists()


def test_a_member_cannot_fill_the_table_with_keys(world) -> None:
    member = member_of(world.alice)
    for _ in range(playground.MOST_KEYS):
        playground.make_key(member=member, group="default")

    with pytest.raises(ValidationError, match="Too many"):
        playground.make_key(member=member, group="default")

    assert ApiKey.objects.filter(purpose="playground").count() == playground.MOST_KEYS
    assert playground.make_key(member=member_of(world.bob), group="default")


def test_only_members_who_are_signed_in_make_keys(world) -> None:
    answer = Client().post(KEY_URL, {"group": "default"})

    assert (answer.status_code, answer["location"].split("?")[0]) == (302, "/accounts/login/")
    assert signed_in(world.alice).get(KEY_URL).status_code == 405
    assert Client(enforce_csrf_checks=True).post(KEY_URL, {"group": "default"}).status_code == 403
    assert not ApiKey.objects.filter(purpose="playground").exists()


def test_the_page_offers_models_that_converse_and_begins_with_the_one_asked_for(world) -> None:
    embedder, second = world.new_model("embedder", input="0.02"), world.new_model("double-2", input="1", output="2")
    world.new_channel("http://127.0.0.1:9/v1", models={world.model: "", embedder: "", second: ""})

    page = signed_in(world.alice).get(URL, {"model": "double-2"})

    text = page.content.decode()
    assert '<option value="double-2" selected>' in text
    assert "embedder" not in text
    assert [row["name"] for row in page.context["data"]["models"]] == ["double-1", "double-2"]
    assert page.context["data"]["models"][0] == {"name": "double-1", "groups": ["default"], "cap": "max_tokens"}


def test_the_page_of_somebody_without_models_says_so(world) -> None:
    page = signed_in(world.alice).get(URL)

    assert page.status_code == 200
    assert "No model to talk to" in page.content.decode()
    assert 'id="playground"' not in page.content.decode()


def test_what_the_page_knows_holds_no_secret(world) -> None:
    world.new_channel("http://127.0.0.1:9/v1")

    text = signed_in(world.alice).get(URL).content.decode()

    assert "sk-" not in text
    assert not ApiKey.objects.filter(purpose="playground").exists()


def test_the_budget_of_the_member_holds_for_its_key(world: World, upstream: Upstream, relay) -> None:
    world.new_channel(upstream.url)
    save_budget(budget=Budget(organization=world.organization, user=world.alice, window="total", limit_nanos=1))
    secret = playground.make_key(member=member_of(world.alice), group="default").secret
    relay.settled_down()

    answer = ask(relay.url, secret)

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "budget_exceeded")
    assert upstream.seen == []
