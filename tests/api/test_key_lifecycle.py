"""A key's life: rotated with an overlap, switched off with its member, deleted; the relay notices within a second."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import ProtectedError
from django.utils import timezone

from accounts import selectors, services
from accounts.models import ApiKey, AuditEntry, Membership
from costrouter.lib.crypto import key_digest
from tests.cast.admin import acme, operator
from tests.cast.waiting import eventually
from tests.cast.world import World
from tests.doubles.upstream import ask

CHAT = "/v1/chat/completions"
HOUR = timedelta(hours=1)
KEYS = "/admin/accounts/apikey/"


def digest(secret: str) -> str:
    return key_digest(settings.KEY_HASH_SECRET, secret)


# Rotation


@pytest.mark.django_db
def test_a_rotated_key_is_the_same_key_with_another_secret() -> None:
    cast = acme()

    secret = services.rotate_api_key(key=cast.key, overlap=timedelta(0))

    found = selectors.key_by_digest(digest(secret))
    assert found is not None
    assert (found.id, found.name, found.expires_at) == (cast.key.pk, "laptop", None)
    assert selectors.key_by_digest(digest(cast.secret)) is None
    stored = ApiKey.objects.get(pk=cast.key.pk)
    assert (stored.digest, stored.prefix) == (digest(secret), secret[:11])
    assert (stored.previous_digest, stored.previous_expires_at) == (None, None)


@pytest.mark.django_db
def test_with_an_overlap_both_secrets_find_the_key_and_the_old_one_expires() -> None:
    cast = acme()
    before = timezone.now()

    secret = services.rotate_api_key(key=cast.key, overlap=HOUR)

    new, old = selectors.key_by_digest(digest(secret)), selectors.key_by_digest(digest(cast.secret))
    assert new is not None
    assert old is not None
    assert (new.id, old.id) == (cast.key.pk, cast.key.pk)
    assert new.expires_at is None
    assert old.expires_at is not None
    assert before + HOUR <= old.expires_at <= timezone.now() + HOUR


@pytest.mark.django_db
def test_the_old_secret_does_not_outlive_the_key() -> None:
    cast = acme()
    cast.key.expires_at = timezone.now() + timedelta(minutes=5)
    services.save_api_key(key=cast.key)

    services.rotate_api_key(key=cast.key, overlap=HOUR)

    old = selectors.key_by_digest(digest(cast.secret))
    assert old is not None
    assert old.expires_at == cast.key.expires_at


@pytest.mark.django_db
def test_of_two_rotations_only_the_last_two_secrets_work() -> None:
    cast = acme()
    second = services.rotate_api_key(key=cast.key, overlap=HOUR)
    third = services.rotate_api_key(key=cast.key, overlap=HOUR)

    found = [selectors.key_by_digest(digest(secret)) is not None for secret in (cast.secret, second, third)]

    assert found == [False, True, True]


@pytest.mark.django_db
@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=7, seconds=1)])
def test_an_overlap_has_its_bounds(overlap: timedelta) -> None:
    cast = acme()

    with pytest.raises(ValidationError):
        services.rotate_api_key(key=cast.key, overlap=overlap)

    assert selectors.key_by_digest(digest(cast.secret)) is not None
    assert not AuditEntry.objects.filter(action="api_key.rotated").exists()


@pytest.mark.django_db
def test_an_edit_begun_before_a_rotation_does_not_bring_the_old_secret_back() -> None:
    cast = acme()
    stale = ApiKey.objects.get(pk=cast.key.pk)
    secret = services.rotate_api_key(key=cast.key, overlap=timedelta(0))

    stale.name = "desk"
    services.save_api_key(key=stale)

    found = selectors.key_by_digest(digest(secret))
    assert found is not None
    assert found.name == "desk"
    assert selectors.key_by_digest(digest(cast.secret)) is None


# Deletion


@pytest.mark.django_db
def test_a_deleted_key_is_unknown_by_either_secret_and_its_row_stays() -> None:
    cast = acme()
    secret = services.rotate_api_key(key=cast.key, overlap=HOUR)

    services.delete_api_key(key=cast.key)

    assert [selectors.key_by_digest(digest(one)) for one in (cast.secret, secret)] == [None, None]
    row = ApiKey.objects.get(pk=cast.key.pk)
    assert (row.name, row.enabled, row.previous_digest) == ("laptop", False, None)
    assert row.deleted_at is not None
    assert digest(secret) != row.digest


@pytest.mark.django_db
def test_a_deleted_key_stays_deleted() -> None:
    cast = acme()
    stale = ApiKey.objects.get(pk=cast.key.pk)
    services.delete_api_key(key=cast.key)
    entries = AuditEntry.objects.count()

    services.delete_api_key(key=stale)
    changed = services.set_api_keys_enabled(keys=[stale], enabled=True)
    for again in (
        lambda: services.save_api_key(key=stale),
        lambda: services.rotate_api_key(key=stale, overlap=HOUR),
    ):
        with pytest.raises(ValidationError):
            again()

    row = ApiKey.objects.get(pk=cast.key.pk)
    assert (changed, row.enabled) == (0, False)
    assert row.deleted_at is not None
    assert AuditEntry.objects.count() == entries


@pytest.mark.django_db
def test_reads_leave_deleted_keys_and_the_playgrounds_out() -> None:
    cast = acme()
    gone, _ = services.create_api_key(organization=cast.organization, user=cast.alice, name="gone")
    services.delete_api_key(key=gone)
    services.create_api_key(organization=cast.organization, user=cast.alice, name="playing", purpose="playground")
    member = Membership.objects.get(organization=cast.organization, user=cast.alice)
    reach = selectors.reach_of(member, "keys.all")

    assert [key.name for key in selectors.api_keys(reach)] == ["laptop"]
    assert [key.name for key in selectors.api_keys(reach, deleted=True)] == ["gone", "laptop"]
    assert selectors.api_key(organization_id=cast.organization.pk, api_key_id=gone.pk) is None


@pytest.mark.django_db
def test_a_playground_key_leaves_no_trace_in_the_audit_log() -> None:
    cast = acme()
    before = AuditEntry.objects.count()

    key, _ = services.create_api_key(
        organization=cast.organization, user=cast.alice, name="playing", purpose="playground"
    )
    services.delete_api_key(key=key)

    assert AuditEntry.objects.count() == before


@pytest.mark.django_db
def test_organizations_and_users_with_deleted_keys_cannot_be_deleted() -> None:
    cast = acme()
    services.delete_api_key(key=cast.key)

    for row in (cast.organization, cast.alice):
        with pytest.raises(ProtectedError), transaction.atomic():
            row.delete()


@pytest.mark.django_db
def test_the_admin_lists_no_deleted_key_and_shows_it_to_be_read_only() -> None:
    client = operator()
    cast = acme()
    client.post(f"{KEYS}{cast.key.pk}/delete/", {"post": "yes"})

    listed = client.get(KEYS).context["cl"].result_list
    page = client.get(f"{KEYS}{cast.key.pk}/change/")
    change = client.post(f"{KEYS}{cast.key.pk}/change/", {"name": "back", "enabled": "on"})

    row = ApiKey.objects.get(pk=cast.key.pk)
    assert row.deleted_at is not None
    assert list(listed) == []
    assert page.status_code == 200
    assert "deleted" in page.content.decode()
    assert change.status_code == 403
    assert (row.name, row.enabled) == ("laptop", False)


@pytest.mark.django_db
def test_the_admin_answers_ids_that_are_none() -> None:
    client = operator()

    assert client.get(f"{KEYS}nonsense/change/").status_code == 302
    assert client.get(f"{KEYS}99999999999999999999999/change/").status_code == 302


# The relay


@pytest.fixture
def serving(world: World, upstream: Any, relay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that serves and a key that is cached, at the pace of production."""
    monkeypatch.setattr("relay.snapshot.POLL_SECONDS", 0.4)
    world.new_channel(upstream.url)
    relay.settled_down()
    assert status_of(relay, world.secret) == 200


def status_of(relay: Any, secret: str) -> int | str:
    """The status of a request; for a refusal with 403 its code."""
    response = httpx.post(relay.url + CHAT, json=ask(), headers={"authorization": f"Bearer {secret}"})
    return response.status_code if response.status_code != 403 else response.json()["error"]["code"]


def becomes(relay: Any, secret: str, wanted: int | str) -> None:
    eventually(lambda: status_of(relay, secret) == wanted, within=1.0, what=f"{wanted}")
    assert status_of(relay, secret) == wanted


def test_both_secrets_work_during_the_overlap_and_the_old_one_ends_with_it(
    world: World, relay: Any, serving: None
) -> None:
    secret = services.rotate_api_key(key=world.key, overlap=timedelta(seconds=2))
    becomes(relay, secret, 200)
    assert status_of(relay, world.secret) == 200

    eventually(lambda: status_of(relay, world.secret) == "key_expired", within=4)

    assert world.key.previous_expires_at is not None
    assert timezone.now() >= world.key.previous_expires_at
    assert status_of(relay, world.secret) == "key_expired"
    assert status_of(relay, secret) == 200
    world.prove()


def test_without_an_overlap_the_old_secret_is_unknown_within_a_second(world: World, relay: Any, serving: None) -> None:
    secret = services.rotate_api_key(key=world.key, overlap=timedelta(0))

    becomes(relay, world.secret, 401)
    assert status_of(relay, secret) == 200
    world.prove()


def test_another_rotation_ends_an_overlap_that_a_cached_secret_was_in(world: World, relay: Any, serving: None) -> None:
    second = services.rotate_api_key(key=world.key, overlap=HOUR)
    becomes(relay, second, 200)
    assert status_of(relay, world.secret) == 200

    third = services.rotate_api_key(key=world.key, overlap=HOUR)

    becomes(relay, world.secret, 401)
    assert [status_of(relay, secret) for secret in (second, third)] == [200, 200]
    world.prove()


def test_switching_a_key_off_refuses_both_of_its_secrets(world: World, relay: Any, serving: None) -> None:
    secret = services.rotate_api_key(key=world.key, overlap=HOUR)
    becomes(relay, secret, 200)

    services.set_api_keys_enabled(keys=[world.key], enabled=False)

    becomes(relay, secret, "key_disabled")
    becomes(relay, world.secret, "key_disabled")
    world.prove()


def test_deleting_a_key_makes_both_of_its_secrets_unknown_within_a_second(
    world: World, relay: Any, serving: None
) -> None:
    secret = services.rotate_api_key(key=world.key, overlap=HOUR)
    becomes(relay, secret, 200)

    services.delete_api_key(key=world.key)

    becomes(relay, secret, 401)
    becomes(relay, world.secret, 401)
    world.prove()


def test_removing_a_member_switches_their_keys_off_in_the_relay(world: World, relay: Any, serving: None) -> None:
    alice = Membership.objects.get(user=world.alice)
    Membership.objects.create(user=world.bob, organization=world.organization, role="owner")

    services.leave(member=alice)

    becomes(relay, world.secret, "key_disabled")
    world.prove()


def test_a_key_says_of_its_old_secret_when_that_ends(world: World, relay: Any, serving: None) -> None:
    secret = services.rotate_api_key(key=world.key, overlap=HOUR)
    becomes(relay, secret, 200)

    def said(one: str) -> str | None:
        answer = httpx.get(f"{relay.url}/v1/key", headers={"authorization": f"Bearer {one}"})
        found: str | None = answer.json()["data"]["expires_at"]
        return found

    assert said(secret) is None
    # The old secret is cached until the change is heard of.
    until = f"{world.key.previous_expires_at:%Y-%m-%dT%H:%M}"
    eventually(lambda: (said(world.secret) or "").startswith(until), within=1.0, what=until)
