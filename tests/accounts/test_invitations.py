"""Invitations: a link by e-mail that lets its reader join once; who may send them, take them back, and use them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user
from django.core import mail
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from accounts import services
from accounts.audit import acting
from accounts.models import AuditEntry, Invitation, Membership
from accounts.services import create_user
from costrouter.lib.crypto import key_digest
from tests.cast.admin import Acme, acme

pytestmark = pytest.mark.django_db
SITE = "https://relay.example"
OWNER, ADMIN, MEMBER = Membership.Role.OWNER, Membership.Role.ADMIN, Membership.Role.MEMBER


def owner_of(cast: Acme) -> Membership:
    return Membership.objects.get(user=cast.alice, organization=cast.organization)


def joined(cast: Acme, email: str, role: str) -> Membership:
    return Membership.objects.create(user=create_user(email=email), organization=cast.organization, role=role)


@pytest.fixture
def post(django_capture_on_commit_callbacks: Any) -> Any:
    """Invite somebody and deliver the mail; returns the secret of its link."""

    def invite(member: Membership, email: str = "dora@example.com", role: str = MEMBER) -> str:
        with django_capture_on_commit_callbacks(execute=True):
            services.invite(member=member, email=email, role=role, site_url=SITE)
        return secret_in(str(mail.outbox[-1].body))

    return invite


def secret_in(body: str) -> str:
    found = re.search(rf"{SITE}/console/invitations/([A-Za-z0-9]+)/", body)
    assert found
    return found.group(1)


# Sending


def test_an_invitation_is_a_mail_with_a_link_whose_hash_alone_is_kept(post: Any) -> None:
    cast = acme()

    secret = post(owner_of(cast), email="  Dora@Example.com ", role=ADMIN)

    [letter] = mail.outbox
    row = Invitation.objects.get()
    assert letter.to == ["dora@example.com"]
    assert letter.subject == "Join Acme on CostRouter"
    assert 'alice@example.com invites you to join the organization "Acme" on CostRouter as admin.' in letter.body
    assert (row.email, row.role, row.invited_by) == ("dora@example.com", ADMIN, cast.alice)
    assert row.digest == key_digest(settings.KEY_HASH_SECRET, secret)
    assert row.expires_at - row.created_at == timedelta(days=7)
    assert secret not in str(list(AuditEntry.objects.values()))


def test_nothing_is_sent_for_what_is_rolled_back(django_capture_on_commit_callbacks: Any) -> None:
    cast = acme()
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(ValidationError):
        services.invite(member=owner_of(cast), email="alice@example.com", role=MEMBER, site_url=SITE)

    assert mail.outbox == []
    assert not Invitation.objects.exists()


def test_inviting_again_ends_the_link_before(post: Any) -> None:
    cast = acme()
    first = post(owner_of(cast))

    second = post(owner_of(cast), email="DORA@example.com", role=ADMIN)

    assert services.open_invitation(first) is None
    found = services.open_invitation(second)
    assert found is not None
    assert (Invitation.objects.count(), found.role) == (1, ADMIN)


def test_a_mail_server_that_is_down_leaves_the_invitation(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise ConnectionRefusedError

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        services.invite(member=owner_of(acme()), email="dora@example.com", role=MEMBER, site_url=SITE)

    assert Invitation.objects.count() == 1


@pytest.mark.parametrize(
    ("inviter", "role", "is_allowed"),
    [
        (OWNER, OWNER, True),
        (OWNER, MEMBER, True),
        (ADMIN, OWNER, False),
        (ADMIN, ADMIN, True),
        (ADMIN, MEMBER, True),
        (MEMBER, MEMBER, False),
        (OWNER, "emperor", False),
    ],
)
def test_who_may_invite_whom(inviter: str, role: str, is_allowed: bool) -> None:
    cast = acme()
    member = joined(cast, "bob@example.com", inviter)

    if is_allowed:
        services.invite(member=member, email="dora@example.com", role=role, site_url=SITE)
    else:
        with pytest.raises(ValidationError):
            services.invite(member=member, email="dora@example.com", role=role, site_url=SITE)

    assert Invitation.objects.exists() == is_allowed


def test_an_admin_who_was_demoted_meanwhile_invites_nobody() -> None:
    cast = acme()
    stale = joined(cast, "bob@example.com", ADMIN)
    services.change_role(actor=owner_of(cast), target=stale, role=MEMBER)
    assert stale.role == ADMIN

    with pytest.raises(ValidationError):
        services.invite(member=stale, email="dora@example.com", role=MEMBER, site_url=SITE)

    assert not Invitation.objects.exists()


@pytest.mark.parametrize("email", ["", "nobody", "a@b", "x@example.com\nbcc: y@example.com"])
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(ValidationError):
        services.invite(member=owner_of(acme()), email=email, role=MEMBER, site_url=SITE)


def test_nobody_is_invited_to_a_personal_organization() -> None:
    alice = create_user(email="alice@example.com")

    with pytest.raises(ValidationError):
        services.invite(member=alice.memberships.get(), email="dora@example.com", role=MEMBER, site_url=SITE)

    assert not Invitation.objects.exists()


def test_an_organization_sends_so_many_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.services.invitations.MAX_A_DAY", 2)
    cast = acme()
    for _ in range(2):
        services.invite(member=owner_of(cast), email="dora@example.com", role=MEMBER, site_url=SITE)

    with pytest.raises(ValidationError):
        services.invite(member=owner_of(cast), email="eve@example.com", role=MEMBER, site_url=SITE)

    assert list(Invitation.objects.values_list("email", flat=True)) == ["dora@example.com"]


def test_more_organizations_send_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.services.invitations.MAX_A_DAY", 2)
    cast = acme()
    other = services.create_organization(name="Another", owner=cast.alice)
    bob = joined(cast, "bob@example.com", ADMIN)
    with acting(user=cast.alice, via="console"):
        for email in ("dora@example.com", "eve@example.com"):
            services.invite(member=owner_of(cast), email=email, role=MEMBER, site_url=SITE)
        with pytest.raises(ValidationError):
            services.invite(member=other.memberships.get(), email="fay@example.com", role=MEMBER, site_url=SITE)

    bobs = services.create_organization(name="Bob's", owner=bob.user)
    with acting(user=bob.user, via="console"):  # what others sent elsewhere is not counted
        services.invite(member=bobs.memberships.get(), email="fay@example.com", role=MEMBER, site_url=SITE)


def test_a_suspended_organization_sends_none() -> None:
    cast = acme()
    services.set_organizations_status(organizations=[cast.organization], status="suspended")

    with pytest.raises(ValidationError, match="suspended"):
        services.invite(member=owner_of(cast), email="dora@example.com", role=MEMBER, site_url=SITE)

    assert not Invitation.objects.exists()


# Joining


def test_an_invitation_is_accepted_once(post: Any) -> None:
    cast = acme()
    secret = post(owner_of(cast), role=ADMIN)
    dora, eve = create_user(email="dora@example.com"), create_user(email="eve@example.com")

    member = services.accept_invitation(secret=secret, user=dora)
    with pytest.raises(ValidationError):
        services.accept_invitation(secret=secret, user=eve)

    assert (member.organization, member.role) == (cast.organization, ADMIN)
    assert not eve.memberships.filter(organization=cast.organization).exists()
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.object_name, entry.changes) == (
        "member.joined",
        "dora@example.com",
        {"role": [None, "admin"]},
    )


def test_joining_as_somebody_else_than_the_invited_address_is_in_the_log(post: Any) -> None:
    cast = acme()
    eve = create_user(email="eve@example.com")

    services.accept_invitation(secret=post(owner_of(cast)), user=eve)

    entry = AuditEntry.objects.latest("id")
    assert (entry.object_name, entry.changes["invited_as"]) == ("eve@example.com", [None, "dora@example.com"])


def test_an_invitation_that_is_too_old_or_withdrawn_is_not_accepted(post: Any) -> None:
    cast = acme()
    dora = create_user(email="dora@example.com")
    old, withdrawn = post(owner_of(cast)), post(owner_of(cast), email="eve@example.com")
    Invitation.objects.filter(email="dora@example.com").update(expires_at=timezone.now())
    services.withdraw_invitation(member=owner_of(cast), invitation=Invitation.objects.get(email="eve@example.com"))

    for secret in (old, withdrawn, "never-made"):
        with pytest.raises(ValidationError):
            services.accept_invitation(secret=secret, user=dora)

    assert not dora.memberships.filter(organization=cast.organization).exists()


def test_a_member_does_not_use_up_an_invitation_to_somebody_else(post: Any) -> None:
    cast = acme()
    secret = post(owner_of(cast))

    with pytest.raises(ValidationError):
        services.accept_invitation(secret=secret, user=cast.alice)

    assert owner_of(cast).role == OWNER
    assert services.open_invitation(secret) is not None


def test_invitations_of_who_may_no_longer_make_them_end(post: Any) -> None:
    cast = acme()
    bob = joined(cast, "bob@example.com", OWNER)
    ann = joined(cast, "ann@example.com", ADMIN)
    to_own, to_use = post(bob, "a@example.com", OWNER), post(bob, "b@example.com", MEMBER)
    by_ann, by_alice = post(ann, "c@example.com", MEMBER), post(owner_of(cast), "d@example.com", OWNER)

    def open_ones() -> list[bool]:
        return [services.open_invitation(secret) is not None for secret in (to_own, to_use, by_ann, by_alice)]

    services.change_role(actor=owner_of(cast), target=bob, role=ADMIN)
    after_demotion = open_ones()
    services.remove_member(actor=owner_of(cast), target=ann)

    assert after_demotion == [False, True, True, True]
    assert open_ones() == [False, True, False, True]


@pytest.mark.parametrize(
    ("role", "invited_role", "is_allowed"),
    [(OWNER, OWNER, True), (ADMIN, ADMIN, True), (ADMIN, OWNER, False), (MEMBER, MEMBER, False)],
)
def test_who_may_withdraw(role: str, invited_role: str, is_allowed: bool) -> None:
    cast = acme()
    invitation = services.invite(member=owner_of(cast), email="dora@example.com", role=invited_role, site_url=SITE)
    member = joined(cast, "bob@example.com", role)

    if is_allowed:
        services.withdraw_invitation(member=member, invitation=invitation)
    else:
        with pytest.raises(ValidationError):
            services.withdraw_invitation(member=member, invitation=invitation)

    assert Invitation.objects.exists() != is_allowed


def test_another_organizations_owner_withdraws_nothing() -> None:
    cast = acme()
    invitation = services.invite(member=owner_of(cast), email="dora@example.com", role=MEMBER, site_url=SITE)
    stranger = create_user(email="bob@example.com").memberships.get()

    with pytest.raises(ValidationError):
        services.withdraw_invitation(member=stranger, invitation=invitation)

    assert Invitation.objects.exists()


# The link's page


def test_a_visitor_is_told_who_invites_and_offered_to_sign_in_or_up(post: Any) -> None:
    cast = acme()
    path = f"/console/invitations/{post(owner_of(cast))}/"
    visitor = Client()

    page = visitor.get(path)

    text = page.content.decode()
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    assert "alice@example.com invites you to join <strong>Acme</strong>" in text
    assert f"/accounts/signup/?next={path.replace('/', '%2F')}" in text
    assert visitor.post(path).status_code == 200
    assert cast.organization.memberships.count() == 1


def test_an_invited_person_signs_up_where_sign_up_is_closed_and_joins(post: Any, settings: Any) -> None:
    settings.SIGN_UP = "closed"
    cast = acme()
    path = f"/console/invitations/{post(owner_of(cast), role=ADMIN)}/"
    visitor = Client()
    visitor.get(path)

    signed_up = visitor.post(
        "/accounts/signup/",
        {"email": "dora@example.com", "name": "Dora", "password1": "a long password", "next": path},
    )
    accepted = visitor.post(path)

    user: Any = get_user(visitor)  # type: ignore[arg-type]
    assert (signed_up.status_code, signed_up.headers["Location"]) == (302, path)
    assert accepted.status_code == 302
    assert user.email == "dora@example.com"
    assert Membership.objects.get(user=user, organization=cast.organization).role == ADMIN
    assert visitor.session["organization"] == cast.organization.pk


def test_somebody_signed_in_joins_by_post_alone_as_who_they_are(post: Any) -> None:
    cast = acme()
    path = f"/console/invitations/{post(owner_of(cast))}/"
    eve = create_user(email="eve@example.com")
    client = Client()
    client.force_login(eve)

    page = client.get(path)
    before = cast.organization.memberships.count()
    client.post(path)

    assert "You are signed in with another address, eve@example.com" in page.content.decode()
    assert (before, cast.organization.memberships.count()) == (1, 2)
    assert client.get(path).status_code == 404


def test_a_member_who_follows_the_link_does_not_use_it_up(post: Any) -> None:
    cast = acme()
    path = f"/console/invitations/{post(owner_of(cast))}/"
    client = Client()
    client.force_login(cast.alice)

    assert "who is a member already" in client.get(path).content.decode()
    assert client.post(path).status_code == 200
    assert Invitation.objects.get().accepted_at is None


def test_a_link_that_is_over_is_a_page_that_says_so() -> None:
    answer = Client().get("/console/invitations/nothing/")

    assert answer.status_code == 404
    assert "This invitation is over" in answer.content.decode()


def test_joining_needs_the_forms_token(post: Any) -> None:
    cast = acme()
    path = f"/console/invitations/{post(owner_of(cast))}/"
    client = Client(enforce_csrf_checks=True)
    client.force_login(create_user(email="eve@example.com"))

    assert client.post(path).status_code == 403
    assert cast.organization.memberships.count() == 1
