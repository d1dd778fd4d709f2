"""Who joins and who leaves, at the same time: an invitation is used once, and an owner stays."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest
from django.conf import settings
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import services
from accounts.models import ApiKey, Membership, User
from costrouter.lib.crypto import key_digest
from tests.cast.admin import Acme, acme
from tests.cast.money import in_threads

pytestmark = pytest.mark.usefixtures("transactional_db")


def owners_of(cast: Acme, *emails: str) -> list[Membership]:
    """Acme's owners: Alice and these."""
    for email in emails:
        user = services.create_user(email=email)
        Membership.objects.create(user=user, organization=cast.organization, role=Membership.Role.OWNER)
    return list(cast.organization.memberships.select_related("user", "organization").order_by("pk"))


def succeeds(action: Callable[[], object]) -> bool:
    try:
        action()
    except ValidationError:
        return False
    return True


def test_of_many_who_accept_an_invitation_at_the_same_time_one_joins() -> None:
    cast = acme()
    services.invite(
        member=Membership.objects.get(user=cast.alice, organization=cast.organization),
        email="dora@example.com",
        role="member",
        site_url="https://relay.example",
    )
    found = re.search(r"/console/invitations/(\w+)/", str(mail.outbox[-1].body))
    assert found
    secret = found.group(1)
    people = [services.create_user(email=f"person{number}@example.com") for number in range(4)]

    def accept(user: User) -> bool:
        return succeeds(lambda: services.accept_invitation(secret=secret, user=user))

    results = in_threads(*(lambda user=user: accept(user) for user in people))

    assert sorted(results) == [False, False, False, True]
    assert cast.organization.memberships.count() == 2


def test_of_owners_who_leave_at_the_same_time_one_stays() -> None:
    cast = acme()
    owners = owners_of(cast, "bob@example.com", "carol@example.com")

    results = in_threads(*(lambda row=row: succeeds(lambda: services.leave(member=row)) for row in owners))

    assert sorted(results) == [False, True, True]
    assert [row.role for row in cast.organization.memberships.all()] == ["owner"]


def test_of_two_owners_who_demote_each_other_one_stays_an_owner() -> None:
    cast = acme()
    alice, bob = owners_of(cast, "bob@example.com")

    def demote(actor: Membership, target: Membership) -> bool:
        return succeeds(lambda: services.change_role(actor=actor, target=target, role="member"))

    results = in_threads(lambda: demote(alice, bob), lambda: demote(bob, alice))

    assert sorted(results) == [False, True]
    assert sorted(row.role for row in cast.organization.memberships.all()) == ["member", "owner"]


def test_a_key_that_is_made_while_its_user_is_removed_does_not_work() -> None:
    cast = acme()
    alice, bob = owners_of(cast, "bob@example.com")
    removed, tried = threading.Event(), threading.Event()

    def remove() -> None:
        with transaction.atomic():
            services.remove_member(actor=alice, target=bob)
            removed.set()
            tried.wait(1)

    def make() -> None:
        removed.wait(10)
        succeeds(lambda: services.create_api_key(organization=cast.organization, user=bob.user, name="late"))
        tried.set()

    in_threads(remove, make)

    assert not ApiKey.objects.filter(user=bob.user, enabled=True).exists()


def test_of_two_rotations_at_the_same_time_each_returns_a_secret_and_one_is_current() -> None:
    cast = acme()
    rows = [ApiKey.objects.get(pk=cast.key.pk) for _ in range(2)]

    secrets = in_threads(
        *(lambda row=row: services.rotate_api_key(key=row, overlap=services.MAX_OVERLAP) for row in rows)
    )

    stored = ApiKey.objects.get(pk=cast.key.pk)
    current, previous = (one for one in sorted(secrets, key=lambda one: one[:11] != stored.prefix))
    assert current[:11] == stored.prefix
    assert previous != current
    # Whichever came second kept the other's secret working.
    hashes = [key_digest(settings.KEY_HASH_SECRET, one) for one in (current, previous)]
    assert [stored.digest, stored.previous_digest] == hashes
