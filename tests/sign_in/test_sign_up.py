"""Signing up: an account of one's own once the address is verified; by invitation where sign-up is closed."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth import get_user
from django.core import mail
from django.test import Client

from accounts.models import AuditEntry, Membership, Organization, User
from accounts.services import create_user
from costrouter.sign_in.invited import SESSION_KEY
from tests.cast import mailbox

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

DANA = {"email": "Dana@Example.com", "name": "Dana", "password1": "a long password"}


def signed_in(visitor: Client) -> str | None:
    """The address of whoever is signed in."""
    user = get_user(visitor)  # type: ignore[arg-type]
    return user.email if user.is_authenticated else None


def follow_invitation(visitor: Client, email: str) -> None:
    session = visitor.session
    session[SESSION_KEY] = email
    session.save()


def test_somebody_signs_up_and_verifies_the_address(visitor: Client) -> None:
    answer = visitor.post("/accounts/signup/?next=/console/keys/", DANA)

    # Nobody is in before the address is verified.
    assert (answer.status_code, answer.url) == (302, "/accounts/confirm-email/")
    assert signed_in(visitor) is None
    assert mailbox.letters() == [("dana@example.com", "Your code for CostRouter")]
    user = User.objects.get()
    assert (user.email, user.name, user.is_staff, user.is_superuser) == ("dana@example.com", "Dana", False, False)
    assert not EmailAddress.objects.filter(verified=True).exists()
    assert visitor.get("/accounts/profile/").url == "/accounts/login/?next=/accounts/profile/"

    wrong = visitor.post("/accounts/confirm-email/", {"code": "BBBB-BBBB"})
    assert "Incorrect code." in wrong.content.decode()
    assert signed_in(visitor) is None

    answer = visitor.post("/accounts/confirm-email/", {"code": mailbox.code()})
    assert (answer.status_code, answer.url) == (302, "/console/keys/")
    assert signed_in(visitor) == "dana@example.com"
    assert list(EmailAddress.objects.values_list("user", "email", "verified", "primary")) == [
        (user.pk, "dana@example.com", True, True)
    ]
    # The account came with a personal organization, and the log knows.
    organization = Organization.objects.get()
    assert (organization.name, organization.is_personal) == ("Dana", True)
    assert organization.memberships.get().role == Membership.Role.OWNER
    assert AuditEntry.objects.filter(action="user.created", object_id=str(user.pk)).count() == 1


def test_code_is_good_for_three_tries(visitor: Client) -> None:
    visitor.post("/accounts/signup/", DANA)
    for _ in range(3):
        answer = visitor.post("/accounts/confirm-email/", {"code": "BBBB-BBBB"})
    assert answer.url == "/accounts/login/"

    answer = visitor.post("/accounts/confirm-email/", {"code": mailbox.code()})
    assert answer.url == "/accounts/login/"
    assert signed_in(visitor) is None
    assert not EmailAddress.objects.filter(verified=True).exists()


def test_code_can_be_sent_again_but_not_at_once(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor.post("/accounts/signup/", DANA)
    first = mailbox.code()
    assert visitor.post("/accounts/confirm-email/", {"action": "resend"}).status_code == 429
    assert len(mail.outbox) == 1

    import time

    now = time.time()
    monkeypatch.setattr("allauth.core.internal.ratelimit.time.time", lambda: now + 11)
    assert visitor.post("/accounts/confirm-email/", {"action": "resend"}).status_code == 302
    assert len(mail.outbox) == 2
    assert mailbox.code() != first
    visitor.post("/accounts/confirm-email/", {"code": mailbox.code()})
    assert signed_in(visitor) == "dana@example.com"


def test_who_left_before_verifying_signs_in_and_gets_another_code(visitor: Client, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "confirm_email": None}
    visitor.post("/accounts/signup/", DANA)
    later = Client()
    answer = later.post("/accounts/login/", {"login": "dana@example.com", "password": "a long password"})
    assert answer.url == "/accounts/confirm-email/"
    assert signed_in(later) is None
    later.post("/accounts/confirm-email/", {"code": mailbox.code()})
    assert signed_in(later) == "dana@example.com"


def test_signing_up_with_an_address_that_is_there_tells_only_its_owner(visitor: Client) -> None:
    create_user(email="dana@example.com", password="her own password")
    answer = visitor.post("/accounts/signup/", DANA)

    # For the visitor it looks the same …
    assert (answer.status_code, answer.url) == (302, "/accounts/confirm-email/")
    page = visitor.get("/accounts/confirm-email/").content.decode()
    assert "Enter the code" in page and "dana@example.com" in page
    # … and nothing has changed.
    assert mailbox.letters() == [("dana@example.com", "You have an account at CostRouter")]
    assert "http://testserver/accounts/login/" in mailbox.last()
    user = User.objects.get()
    assert user.check_password("her own password")
    assert Organization.objects.count() == 1


def test_two_at_once_with_one_address(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second passed the form's check before the first was saved."""
    create_user(email="dana@example.com", password="her own password")
    monkeypatch.setattr(
        "allauth.account.internal.flows.manage_email.assess_unique_email", lambda email, user=None: True
    )
    answer = visitor.post("/accounts/signup/", DANA)
    assert (answer.status_code, answer.url) == (302, "/accounts/confirm-email/")
    assert User.objects.count() == 1
    assert mailbox.letters() == [("dana@example.com", "You have an account at CostRouter")]


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("short", "at least 8 characters"),
        ("password123", "too common"),
        ("dana@example", "too similar to the email"),
    ],
)
def test_weak_passwords(visitor: Client, password: str, words: str) -> None:
    answer = visitor.post("/accounts/signup/", {**DANA, "password1": password})
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not User.objects.exists()
    assert mail.outbox == []


def test_sign_up_closed(visitor: Client, settings: Any) -> None:
    settings.SIGN_UP = "closed"
    assert "Create an account" not in visitor.get("/accounts/login/").content.decode()
    assert "by invitation" in visitor.get("/accounts/signup/").content.decode()
    assert "by invitation" in visitor.post("/accounts/signup/", DANA).content.decode()
    assert not User.objects.exists()
    assert mail.outbox == []


def test_invited_person_signs_up_where_it_is_closed(visitor: Client, settings: Any) -> None:
    settings.SIGN_UP = "closed"
    follow_invitation(visitor, "dana@example.com")
    assert 'value="dana@example.com"' in visitor.get("/accounts/signup/").content.decode()

    # Whoever has the link of the mail has its address: there is nothing left to verify.
    answer = visitor.post("/accounts/signup/", {**DANA, "next": "/console/team/"})
    assert (answer.status_code, answer.url) == (302, "/console/team/")
    assert signed_in(visitor) == "dana@example.com"
    assert list(EmailAddress.objects.values_list("email", "verified", "primary")) == [("dana@example.com", True, True)]
    assert mail.outbox == []


def test_invitation_is_for_its_address_alone(visitor: Client, settings: Any) -> None:
    settings.SIGN_UP = "closed"
    follow_invitation(visitor, "dana@example.com")
    answer = visitor.post("/accounts/signup/", {**DANA, "email": "mallory@example.com"})
    assert "Use the address that was invited" in answer.content.decode()
    assert not User.objects.exists()


def test_open_sign_up_with_another_address_than_the_invited_one(visitor: Client) -> None:
    follow_invitation(visitor, "dana@example.com")
    visitor.post("/accounts/signup/", {**DANA, "email": "mallory@example.com"})
    assert signed_in(visitor) is None
    user = User.objects.get()
    assert user.email == "mallory@example.com"
    assert list(EmailAddress.objects.values_list("email", "verified")) == [("mallory@example.com", False)]


def test_people_whom_operators_make_are_verified() -> None:
    user = create_user(email="Erin@Example.com", password=None)
    assert list(EmailAddress.objects.values_list("user", "email", "verified", "primary")) == [
        (user.pk, "erin@example.com", True, True)
    ]


def test_mail_server_that_is_down(visitor: Client, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def refuse(*args: Any, **kwargs: Any) -> int:
        raise ConnectionRefusedError("no mail today")

    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
        answer = visitor.post("/accounts/signup/", DANA)
    assert answer.status_code == 503
    assert "The mail could not be sent" in answer.content.decode()
    assert "no mail today" in caplog.text
    assert signed_in(visitor) is None
    assert not EmailAddress.objects.filter(verified=True).exists()

    # As the page says: signing in sends the code again, at once.
    answer = visitor.post("/accounts/login/", {"login": "dana@example.com", "password": "a long password"})
    assert answer.url == "/accounts/confirm-email/"
    visitor.post("/accounts/confirm-email/", {"code": mailbox.code()})
    assert signed_in(visitor) == "dana@example.com"


def test_twenty_sign_ups_a_minute_from_one_address(visitor: Client) -> None:
    for number in range(20):
        assert visitor.post("/accounts/signup/", {**DANA, "email": f"{number}@example.com"}).status_code == 302
    answer = visitor.post("/accounts/signup/", {**DANA, "email": "one.more@example.com"})
    assert answer.status_code == 429
    assert "Too many tries" in answer.content.decode()
    assert not User.objects.filter(email="one.more@example.com").exists()
