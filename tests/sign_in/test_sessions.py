"""Signing in and out, passwords, addresses, sessions; the admin behind the same door."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.auth import get_user
from django.core import mail
from django.test import Client

from accounts.models import AuditEntry, User
from accounts.services import create_user, save_user
from costrouter.sign_in.forms import NameForm
from tests.cast import mailbox

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
PASSWORD = "correct horse"


@pytest.fixture
def alice() -> User:
    return create_user(email="alice@example.com", password=PASSWORD, name="Alice")


@pytest.fixture
def inside(visitor: Client, alice: User) -> Client:
    """Alice, signed in by her password."""
    enter(visitor)
    return visitor


def enter(visitor: Client, email: str = "alice@example.com", password: str = PASSWORD, **more: Any) -> Any:
    return visitor.post("/accounts/login/", {"login": email, "password": password, **more})


def signed_in(visitor: Client) -> str | None:
    """The address of whoever is signed in."""
    user = get_user(visitor)  # type: ignore[arg-type]
    return user.email if user.is_authenticated else None


def test_sign_in_and_out(visitor: Client, alice: User) -> None:
    page = visitor.get("/accounts/login/?next=/accounts/sessions/")
    assert 'name="next" value="/accounts/sessions/"' in page.content.decode()

    answer = enter(visitor, email="Alice@Example.com", next="/accounts/sessions/")
    assert (answer.status_code, answer.url) == (302, "/accounts/sessions/")
    assert signed_in(visitor) == "alice@example.com"
    assert visitor.get("/accounts/login/").url == "/console/"

    # A link, or an image on another site, signs nobody out.
    assert visitor.get("/accounts/logout/").status_code == 200
    assert signed_in(visitor) == "alice@example.com"
    answer = visitor.post("/accounts/logout/")
    assert (answer.status_code, answer.url) == (302, "/accounts/login/")
    assert signed_in(visitor) is None


def test_after_sign_in_nobody_is_led_elsewhere(visitor: Client, alice: User) -> None:
    for elsewhere in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        answer = enter(Client(), next=elsewhere)
        assert answer.url == "/console/"


def test_keep_me_signed_in(visitor: Client, alice: User) -> None:
    enter(visitor)
    assert visitor.cookies["sessionid"]["max-age"] == ""
    other = Client()
    enter(other, remember="on")
    assert other.cookies["sessionid"]["max-age"] == 14 * 24 * 3600
    assert other.cookies["sessionid"]["httponly"] and other.cookies["sessionid"]["samesite"] == "Lax"


def test_wrong_password_and_unknown_address_are_told_the_same(visitor: Client, alice: User) -> None:
    def told(email: str) -> str:
        answer = enter(visitor, email=email, password="wrong")
        assert answer.status_code == 200
        [notice] = re.findall(r'role="alert">.*?<p>(.*?)</p>', answer.content.decode(), re.DOTALL)
        return str(notice)

    assert told("alice@example.com") == told("nobody@example.com")
    assert signed_in(visitor) is None


def test_user_who_is_switched_off(visitor: Client, alice: User) -> None:
    alice.is_active = False
    save_user(user=alice)
    assert enter(visitor).url == "/accounts/inactive/"
    assert "switched off" in visitor.get("/accounts/inactive/").content.decode()
    assert signed_in(visitor) is None


def test_five_wrong_passwords_lock_an_address_for_five_minutes_from_everywhere(
    visitor: Client, alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    for number in range(5):
        # Each from an address of its own, to a host name of its own.
        headers = {"x-forwarded-for": f"203.0.113.{number}", "host": f"host{number}.example"}
        visitor.post("/accounts/login/", {"login": "alice@example.com", "password": "wrong"}, headers=headers)
    answer = enter(visitor)
    assert "Too many failed login attempts" in answer.content.decode()
    assert signed_in(visitor) is None

    import time

    now = time.time()
    monkeypatch.setattr("allauth.core.internal.ratelimit.time.time", lambda: now + 301)
    assert enter(visitor).status_code == 302
    assert signed_in(visitor) == "alice@example.com"


def test_limits_believe_only_trusted_proxies(visitor: Client, alice: User) -> None:
    """Ten wrong passwords a minute from one address, whatever it says it forwards for."""
    for number in range(10):
        headers = {"x-forwarded-for": f"203.0.113.{number}"}
        data = {"login": f"{number}@example.com", "password": "wrong"}
        assert "not correct" in visitor.post("/accounts/login/", data, headers=headers).content.decode()
    answer = visitor.post(
        "/accounts/login/",
        {"login": "alice@example.com", "password": PASSWORD},
        headers={"x-forwarded-for": "203.0.113.99"},
    )
    assert "Too many failed login attempts" in answer.content.decode()
    assert signed_in(visitor) is None


# Passwords


def test_forgotten_password(visitor: Client, alice: User) -> None:
    other = Client()
    enter(other)
    answer = visitor.post("/accounts/password/reset/", {"email": "alice@example.com"})
    assert answer.url == "/accounts/password/reset/done/"
    assert mailbox.letters() == [("alice@example.com", "A new password for CostRouter")]

    # The key leaves the address before the page is shown, so that it leaks to nobody.
    form = visitor.get(mailbox.path("/password/reset/key/"), follow=True)
    assert form.request["PATH_INFO"].endswith("-set-password/")
    answer = visitor.post(
        form.request["PATH_INFO"], {"password1": "another long one", "password2": "another long one"}, follow=True
    )
    assert "Your password is changed" in answer.content.decode()
    assert signed_in(visitor) is None
    assert signed_in(other) is None  # every session ended
    assert "Too many" not in enter(visitor, password=PASSWORD).content.decode()
    assert signed_in(visitor) is None
    enter(visitor, password="another long one")
    assert signed_in(visitor) == "alice@example.com"
    assert mailbox.letters()[1:] == [("alice@example.com", "Your password was changed")]
    assert AuditEntry.objects.filter(action="user.changed", changes={"password": ["set", "replaced"]}).count() == 1


def test_link_of_a_forgotten_password_works_once(visitor: Client, alice: User) -> None:
    visitor.post("/accounts/password/reset/", {"email": "alice@example.com"})
    link = mailbox.path("/password/reset/key/")
    form = visitor.get(link, follow=True).request["PATH_INFO"]
    visitor.post(form, {"password1": "another long one", "password2": "another long one"})
    assert "This link no longer works" in Client().get(link, follow=True).content.decode()
    assert "This link no longer works" in Client().get("/accounts/password/reset/key/1-bad/").content.decode()


def test_forgotten_password_of_an_address_that_is_not_there(visitor: Client, alice: User) -> None:
    answer = visitor.post("/accounts/password/reset/", {"email": "nobody@example.com"})
    assert (answer.status_code, answer.url) == (302, "/accounts/password/reset/done/")
    assert mailbox.letters() == [("nobody@example.com", "No account at CostRouter")]


def test_links_in_mails_lead_to_the_public_address(visitor: Client, alice: User, settings: Any) -> None:
    """Who asks chooses the Host header; with PUBLIC_URL it decides nothing."""
    settings.PUBLIC_URL = "https://relay.example.com"
    visitor.post("/accounts/password/reset/", {"email": "alice@example.com"}, headers={"host": "evil.example"})
    assert mailbox.link("/password/reset/key/").startswith("https://relay.example.com/accounts/password/reset/key/")
    visitor.post("/accounts/password/reset/", {"email": "nobody@example.com"}, headers={"host": "evil.example"})
    assert mailbox.link("/signup/") == "https://relay.example.com/accounts/signup/"
    assert all("evil" not in str(letter.body) for letter in mail.outbox)


def test_reset_mail_when_the_server_is_down(
    visitor: Client, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> int:
        raise OSError("no mail today")

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    # The same for an address that is there and for one that is not.
    for email in ("alice@example.com", "nobody@example.com"):
        answer = visitor.post("/accounts/password/reset/", {"email": email})
        assert answer.status_code == 503
        assert "The mail could not be sent" in answer.content.decode()
    assert "no mail today" in caplog.text


def test_change_the_password(inside: Client, alice: User) -> None:
    elsewhere = Client()
    enter(elsewhere)
    answer = inside.post(
        "/accounts/password/change/",
        {"oldpassword": "wrong", "password1": "another long one", "password2": "another long one"},
    )
    assert "Please type your current password" in answer.content.decode()
    answer = inside.post(
        "/accounts/password/change/",
        {"oldpassword": PASSWORD, "password1": "another long one", "password2": "another long one"},
    )
    assert answer.status_code == 302
    alice.refresh_from_db()
    assert alice.check_password("another long one")
    assert signed_in(inside) == "alice@example.com"
    assert signed_in(elsewhere) is None
    assert mailbox.letters() == [("alice@example.com", "Your password was changed")]


def test_notice_that_cannot_be_mailed_breaks_nothing(
    inside: Client, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> int:
        raise OSError("no mail today")

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    answer = inside.post(
        "/accounts/password/change/",
        {"oldpassword": PASSWORD, "password1": "another long one", "password2": "another long one"},
    )
    assert answer.status_code == 302
    alice.refresh_from_db()
    assert alice.check_password("another long one")
    assert "no mail today" in caplog.text


# Name and address


def test_change_the_name(inside: Client, alice: User) -> None:
    answer = inside.post("/accounts/profile/", {"name": "Alice Lovelace"})
    assert (answer.status_code, answer.url) == (302, "/accounts/profile/")
    alice.refresh_from_db()
    assert (alice.name, alice.email) == ("Alice Lovelace", "alice@example.com")
    assert 'value="Alice Lovelace"' in inside.get("/accounts/profile/").content.decode()
    assert AuditEntry.objects.get(action="user.changed").changes == {"name": ["Alice", "Alice Lovelace"]}

    answer = inside.post("/accounts/profile/", {"name": "x" * 151})
    assert answer.status_code == 200
    alice.refresh_from_db()
    assert alice.name == "Alice Lovelace"


def test_a_change_of_name_undoes_nothing_that_comes_between(
    inside: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_valid = NameForm.is_valid

    def switched_off_meanwhile(form: NameForm) -> bool:
        User.objects.filter(pk=alice.pk).update(is_active=False, password="another")
        return is_valid(form)

    monkeypatch.setattr(NameForm, "is_valid", switched_off_meanwhile)
    inside.post("/accounts/profile/", {"name": "Mallory"})

    alice.refresh_from_db()
    assert (alice.name, alice.is_active, alice.password) == ("Mallory", False, "another")


def test_change_the_address(inside: Client, alice: User) -> None:
    # It takes the password, and a code that is mailed to the new address.
    answer = inside.post("/accounts/email/", {"email": "alice@new.example", "action_add": "1"})
    assert answer.url.startswith("/accounts/reauthenticate/")
    assert mail.outbox == []
    answer = inside.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": "/accounts/email/"})
    assert mailbox.letters() == [("alice@new.example", "Your code for CostRouter")]

    # Until then the account is what it was, and the new address is kept nowhere.
    assert list(EmailAddress.objects.values_list("email", "verified")) == [("alice@example.com", True)]
    answer = inside.post("/accounts/confirm-email/", {"code": mailbox.code()})
    assert answer.status_code == 302
    alice.refresh_from_db()
    assert alice.email == "alice@new.example"
    assert list(EmailAddress.objects.values_list("email", "verified", "primary")) == [("alice@new.example", True, True)]
    assert mailbox.letters()[1:] == [("alice@example.com", "Your address was changed")]
    entry = AuditEntry.objects.get(action="user.changed")
    assert (entry.changes, entry.actor_id) == ({"email": ["alice@example.com", "alice@new.example"]}, alice.pk)

    inside.post("/accounts/logout/")
    enter(inside)
    assert signed_in(inside) is None
    enter(inside, email="alice@new.example")
    assert signed_in(inside) == "alice@new.example"


def test_address_of_somebody_else_cannot_be_taken(inside: Client, alice: User) -> None:
    create_user(email="bob@example.com", password="battery staple")
    inside.post("/accounts/reauthenticate/", {"password": PASSWORD})
    inside.post("/accounts/email/", {"email": "bob@example.com", "action_add": "1"})
    # Bob's mailbox has the code. Were Alice to know it, the address would still be Bob's.
    answer = inside.post("/accounts/confirm-email/", {"code": mailbox.code()})
    assert "already registered with this email address" in answer.content.decode()
    alice.refresh_from_db()
    assert alice.email == "alice@example.com"
    assert list(EmailAddress.objects.order_by("email").values_list("email", "user__email")) == [
        ("alice@example.com", "alice@example.com"),
        ("bob@example.com", "bob@example.com"),
    ]


def test_address_that_an_operator_changes_is_what_the_user_signs_in_with(visitor: Client, alice: User) -> None:
    alice.email = "alice@new.example"
    save_user(user=alice)
    assert list(EmailAddress.objects.values_list("email", "verified", "primary")) == [("alice@new.example", True, True)]
    enter(visitor)
    assert signed_in(visitor) is None
    enter(visitor, email="alice@new.example")
    assert signed_in(visitor) == "alice@new.example"


# Sessions


def test_sessions_are_listed_and_ended_elsewhere(visitor: Client, alice: User) -> None:
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Safari/604.1"
    here, there, bob = Client(headers={"user-agent": firefox}), Client(headers={"user-agent": iphone}), Client()
    create_user(email="bob@example.com", password="battery staple")
    enter(here)
    enter(there)
    enter(bob, email="bob@example.com", password="battery staple")

    page = here.get("/accounts/sessions/").content.decode()
    assert "Firefox on Linux" in page and "Safari on iPhone" in page
    assert page.count("127.0.0.1") == 2
    here.post("/accounts/sessions/")
    assert (signed_in(here), signed_in(there), signed_in(bob)) == ("alice@example.com", None, "bob@example.com")
    assert UserSession.objects.filter(user=alice).count() == 1
    assert UserSession.objects.count() == 2


def test_session_tells_when_it_was_last_seen_but_not_at_each_page(inside: Client) -> None:
    first = UserSession.objects.get().last_seen_at
    inside.get("/accounts/profile/")
    seen = UserSession.objects.get().last_seen_at
    assert seen > first
    inside.get("/accounts/profile/")
    assert UserSession.objects.get().last_seen_at == seen


# The admin


def test_admin_is_entered_through_sign_in(visitor: Client) -> None:
    create_user(email="operator@example.com", password=PASSWORD, is_staff=True, is_superuser=True)
    answer = visitor.get("/admin/accounts/user/?q=x", follow=True)
    assert answer.redirect_chain == [
        ("/admin/login/?next=/admin/accounts/user/%3Fq%3Dx", 302),
        ("/accounts/login/?next=/admin/accounts/user/%3Fq%3Dx", 302),
    ]
    assert enter(visitor, email="operator@example.com", next="/admin/accounts/user/?q=x").url == (
        "/admin/accounts/user/?q=x"
    )
    assert visitor.get("/admin/").status_code == 200
    assert visitor.get("/admin/login/").url == "/admin/"
    assert visitor.get("/admin/login/?next=https://evil.example/").url == "/admin/"
    assert visitor.get("/admin/password_change/").url == "/accounts/password/change/"

    # There is no second door.
    data = {"username": "operator@example.com", "password": PASSWORD}
    other = Client()
    assert other.post("/admin/login/", data).url == "/accounts/login/?next=/admin/"
    assert signed_in(other) is None
    assert visitor.post("/admin/logout/").status_code == 302
    assert signed_in(visitor) is None


def test_who_is_no_operator_is_told_so(inside: Client) -> None:
    answer = inside.get("/admin/", follow=True)
    assert answer.redirect_chain == [("/admin/login/?next=/admin/", 302)]
    assert answer.status_code == 403
    assert "For operators only" in answer.content.decode()
    assert signed_in(inside) == "alice@example.com"


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/profile/",
        "/accounts/email/",
        "/accounts/password/change/",
        "/accounts/2fa/",
        "/accounts/2fa/webauthn/",
        "/accounts/sessions/",
        "/accounts/3rdparty/",
    ],
)
def test_pages_of_an_account_are_its_owners(visitor: Client, alice: User, path: str) -> None:
    assert visitor.get(path).url == f"/accounts/login/?next={path}"
    enter(visitor)
    page = visitor.get(path)
    assert page.status_code == 200
    assert "Your account" in page.content.decode()
    assert page.headers["Content-Security-Policy"].count("form-action 'self';") == 1


def test_every_form_needs_its_token(alice: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert enter(strict).status_code == 403
    assert signed_in(strict) is None


def test_people_from_before_addresses_were_verified_keep_getting_in(visitor: Client) -> None:
    """Their rows have no address of allauth's, and may be spelled in capitals."""
    alice = create_user(email="alice@example.com", password=PASSWORD)
    bob = create_user(email="bob@example.com", password=PASSWORD)
    EmailAddress.objects.all().delete()
    User.objects.filter(pk=alice.pk).update(email="Alice@example.com")
    migration = importlib.import_module("accounts.migrations.0006_verified_addresses")
    for _ in range(2):
        migration.verify(apps, None)
    assert list(EmailAddress.objects.order_by("user").values_list("user", "email", "verified", "primary")) == [
        (alice.pk, "alice@example.com", True, True),
        (bob.pk, "bob@example.com", True, True),
    ]
    enter(visitor)
    assert signed_in(visitor) == "alice@example.com"


def test_contact_is_in_the_footer(visitor: Client, settings: Any) -> None:
    def footer() -> str:
        return visitor.get("/docs/").content.decode().split("<footer")[1]

    assert "Contact" not in footer()
    settings.CONTACT = "ops@example.com"
    assert '<a href="mailto:ops@example.com">Contact</a>' in footer()
    settings.CONTACT = "https://example.com/help?a=1&b=2"
    assert '<a href="https://example.com/help?a=1&amp;b=2">Contact</a>' in footer()
