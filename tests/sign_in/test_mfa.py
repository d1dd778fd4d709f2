"""Second factors: an authenticator app, recovery codes, passkeys in a real browser."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.contrib.auth import get_user
from django.core import mail
from django.test import Client
from playwright.sync_api import Browser, Page

from accounts.models import User
from accounts.services import create_user
from costrouter.lib import crypto
from tests.browser.driver import browser, serious, visit
from tests.cast import authenticator, mailbox
from tests.conftest import RelayServer

pytestmark = pytest.mark.any_database

PASSWORD = "correct horse"


@pytest.fixture
def alice(db: None) -> User:
    return create_user(email="alice@example.com", password=PASSWORD, name="Alice")


@pytest.fixture
def inside(visitor: Client, alice: User) -> Client:
    """Alice, signed in, who has just given her password once more."""
    enter(visitor)
    visitor.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return visitor


def enter(visitor: Client, password: str = PASSWORD) -> Any:
    return visitor.post("/accounts/login/", {"login": "alice@example.com", "password": password})


def signed_in(visitor: Client) -> str | None:
    """The address of whoever is signed in."""
    user = get_user(visitor)  # type: ignore[arg-type]
    return user.email if user.is_authenticated else None


def set_up(visitor: Client) -> str:
    """Set up an app. Its secret, as the page shows it."""
    page = visitor.get("/accounts/2fa/totp/activate/").content.decode()
    assert 'src="data:image/svg+xml' in page
    [secret] = re.findall(r'<code class="mono">([A-Z2-7]+)</code>', page)
    answer = visitor.post("/accounts/2fa/totp/activate/", {"code": authenticator.code(secret)})
    assert answer.url == "/accounts/2fa/recovery-codes/"
    return str(secret)


def recovery_codes(visitor: Client) -> list[str]:
    """The codes that are left, as the page shows them."""
    return re.findall(r"<li>(\d{8})</li>", visitor.get("/accounts/2fa/recovery-codes/").content.decode())


def second_step(visitor: Client, code: str) -> Any:
    return visitor.post("/accounts/2fa/authenticate/", {"code": code})


# Authenticator app


@pytest.mark.usefixtures("transactional_db")
def test_app_is_set_up_with_the_password_and_a_code(visitor: Client, alice: User) -> None:
    enter(visitor)
    answer = visitor.get("/accounts/2fa/totp/activate/")
    assert answer.url.startswith("/accounts/reauthenticate/")
    visitor.post("/accounts/reauthenticate/", {"password": PASSWORD})

    visitor.get("/accounts/2fa/totp/activate/")
    answer = visitor.post("/accounts/2fa/totp/activate/", {"code": "000000"})
    assert "Incorrect code" in answer.content.decode()
    assert not Authenticator.objects.exists()

    set_up(visitor)
    assert sorted(Authenticator.objects.values_list("type", flat=True)) == ["recovery_codes", "totp"]
    assert mailbox.letters() == [("alice@example.com", "An authenticator app was set up")]
    assert len(set(recovery_codes(visitor))) == 10


def test_no_cache_keeps_a_page_with_secrets(inside: Client) -> None:
    told = ["/accounts/2fa/totp/activate/"]
    answers = [inside.get(told[0])]
    set_up(inside)
    told += ["/accounts/2fa/recovery-codes/", "/accounts/2fa/recovery-codes/download/"]
    answers += [inside.get(path) for path in told[1:]]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert ["no-store" in answer.headers.get("Cache-Control", "") for answer in answers] == [True, True, True]


def test_sign_in_asks_for_the_code(inside: Client) -> None:
    secret = set_up(inside)
    visitor = Client()
    assert enter(visitor).url == "/accounts/2fa/authenticate/"
    assert signed_in(visitor) is None
    assert visitor.get("/accounts/profile/").url == "/accounts/login/?next=/accounts/profile/"

    assert "Incorrect code" in second_step(visitor, "000000").content.decode()
    assert signed_in(visitor) is None
    # The step before the one that was used to set it up: clocks may differ.
    assert second_step(visitor, authenticator.code(secret, later=1)).url == "/console/"
    assert signed_in(visitor) == "alice@example.com"


def test_code_works_once(inside: Client) -> None:
    secret = set_up(inside)
    code = authenticator.code(secret, later=1)
    first, second = Client(), Client()
    enter(first)
    second_step(first, code)
    enter(second)
    assert "Incorrect code" in second_step(second, code).content.decode()
    assert (signed_in(first), signed_in(second)) == ("alice@example.com", None)


def test_code_of_another_time_does_not_work(inside: Client) -> None:
    secret = set_up(inside)
    visitor = Client()
    enter(visitor)
    for later in (-3, 3):
        assert "Incorrect code" in second_step(visitor, authenticator.code(secret, later=later)).content.decode()
    assert signed_in(visitor) is None


def test_codes_cannot_be_guessed(inside: Client) -> None:
    """Five tries in five minutes for each user, from wherever."""
    secret = set_up(inside)
    for _ in range(5):
        guesser = Client()
        enter(guesser)
        second_step(guesser, "000000")
    visitor = Client()
    enter(visitor)
    assert "Too many failed" in second_step(visitor, authenticator.code(secret, later=1)).content.decode()
    assert signed_in(visitor) is None


def test_second_step_needs_the_first(inside: Client) -> None:
    secret = set_up(inside)
    visitor = Client()
    assert visitor.get("/accounts/2fa/authenticate/").url == "/accounts/login/"
    assert second_step(visitor, authenticator.code(secret, later=1)).url == "/accounts/login/"
    enter(visitor, password="wrong")
    assert second_step(visitor, authenticator.code(secret, later=1)).url == "/accounts/login/"
    assert signed_in(visitor) is None


def test_secrets_are_encrypted_at_rest(inside: Client, settings: Any) -> None:
    secret = set_up(inside)
    stored = {row.type: row.data for row in Authenticator.objects.all()}
    assert secret not in str(stored)
    assert crypto.decrypt(settings.FIELD_ENCRYPTION_KEYS, stored["totp"]["secret"]) == secret
    assert crypto.decrypt(settings.FIELD_ENCRYPTION_KEYS, stored["recovery_codes"]["seed"])
    assert all(code not in str(stored) for code in recovery_codes(inside))

    # A new key in front: what the old one encrypted still opens.
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_ENCRYPTION_KEYS]
    visitor = Client()
    enter(visitor)
    second_step(visitor, authenticator.code(secret, later=1))
    assert signed_in(visitor) == "alice@example.com"


def test_secret_that_no_key_opens_any_more(inside: Client, settings: Any, caplog: Any) -> None:
    secret = set_up(inside)
    codes = recovery_codes(inside)
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    visitor = Client()
    enter(visitor)
    for code in (authenticator.code(secret, later=1), codes[0]):
        assert "Incorrect code" in second_step(visitor, code).content.decode()
    assert signed_in(visitor) is None
    assert "no key in FIELD_ENCRYPTION_KEYS opens a second factor" in caplog.text


def test_app_is_turned_off_with_a_proof(inside: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(inside)
    import time

    now = time.time()
    with monkeypatch.context() as later:
        later.setattr("allauth.account.internal.flows.reauthentication.time.time", lambda: now + 301)
        answer = inside.post("/accounts/2fa/totp/deactivate/")
        assert answer.url.startswith("/accounts/reauthenticate/")
        assert Authenticator.objects.filter(type="totp").exists()
    inside.post("/accounts/2fa/totp/deactivate/")
    assert not Authenticator.objects.exists()
    assert mailbox.letters()[-1] == ("alice@example.com", "The authenticator app was turned off")
    visitor = Client()
    assert enter(visitor).url == "/console/"


# Recovery codes


def test_recovery_code_lets_in_once(inside: Client) -> None:
    set_up(inside)
    code = recovery_codes(inside)[0]
    first, second = Client(), Client()
    enter(first)
    second_step(first, code)
    enter(second)
    assert "Incorrect code" in second_step(second, code).content.decode()
    assert (signed_in(first), signed_in(second)) == ("alice@example.com", None)
    assert len(recovery_codes(inside)) == 9


@pytest.mark.usefixtures("transactional_db")
def test_new_recovery_codes_end_the_old_ones(inside: Client) -> None:
    set_up(inside)
    old = recovery_codes(inside)
    inside.post("/accounts/2fa/recovery-codes/generate/")
    new = recovery_codes(inside)
    assert len(new) == 10 and not set(new) & set(old)
    assert mailbox.letters()[-1] == ("alice@example.com", "New recovery codes were made")
    assert inside.get("/accounts/2fa/recovery-codes/download/").content.decode().split() == new
    visitor = Client()
    enter(visitor)
    assert "Incorrect code" in second_step(visitor, old[0]).content.decode()


def test_recovery_codes_are_shown_after_a_proof_alone(inside: Client) -> None:
    set_up(inside)
    visitor = Client()
    enter(visitor)
    second_step(visitor, recovery_codes(inside)[0])
    for path in ("recovery-codes/", "recovery-codes/download/", "recovery-codes/generate/"):
        answer = visitor.get(f"/accounts/2fa/{path}")
        assert (answer.status_code, answer.url.split("?")[0]) == (302, "/accounts/reauthenticate/")


def test_address_can_still_be_changed(inside: Client, alice: User) -> None:
    set_up(inside)
    inside.post("/accounts/email/", {"email": "alice@new.example", "action_add": "1"})
    inside.post("/accounts/confirm-email/", {"code": mailbox.code()})
    alice.refresh_from_db()
    assert alice.email == "alice@new.example"
    assert Authenticator.objects.filter(user=alice, type="totp").exists()


def test_resetting_the_password_does_not_pass_the_second_factor(inside: Client) -> None:
    set_up(inside)
    visitor = Client()
    visitor.post("/accounts/password/reset/", {"email": "alice@example.com"})
    form = visitor.get(mailbox.path("/password/reset/key/"), follow=True).request["PATH_INFO"]
    visitor.post(form, {"password1": "another long one", "password2": "another long one"})
    assert signed_in(visitor) is None
    assert enter(visitor, password="another long one").url == "/accounts/2fa/authenticate/"
    assert signed_in(visitor) is None


@pytest.mark.usefixtures("db")
def test_passkey_that_is_made_up(visitor: Client, alice: User) -> None:
    made_up = (
        '{"id": "AA", "rawId": "AA", "type": "public-key", "clientExtensionResults": {}, "response": '
        '{"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA", "userHandle": "MQ"}}'
    )
    visitor.get("/accounts/2fa/webauthn/login/", headers={"accept": "application/json"})
    for credential in (made_up, "{}", "[]", "null", "", '{"response": 1}', '"x"'):
        answer = visitor.post("/accounts/2fa/webauthn/login/", {"credential": credential})
        assert answer.status_code == 302, credential
        assert answer.url == "/accounts/login/"
        assert signed_in(visitor) is None


# Passkeys, in a browser with an authenticator of its own


@pytest.fixture
def chromium(fresh_limits: None) -> Iterator[Browser]:
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright's loop runs in this thread
    try:
        with browser() as found:
            yield found
    finally:
        os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE")


@pytest.fixture
def site(transactional_db: None) -> Iterator[RelayServer]:
    server = RelayServer().start()
    yield server
    server.stop()


def give_authenticator(page: Page) -> None:
    """The browser's own: it has a resident key and knows its user, who always agrees."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def sign_in_by_password(page: Page) -> None:
    page.get_by_label("E-mail").fill("alice@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


@pytest.mark.usefixtures("transactional_db")
def test_passkey_is_added_and_signs_in(chromium: Browser, site: RelayServer) -> None:
    alice = create_user(email="alice@example.com", password=PASSWORD)
    # Passkeys belong to a name, and a browser trusts this one without TLS.
    site_url = f"http://localhost:{site.port}"
    seen = visit(chromium, site_url)
    page = seen.page
    give_authenticator(page)
    seen.open("/accounts/login/?next=/accounts/2fa/webauthn/add/")
    assert serious(page) == []
    sign_in_by_password(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Name").fill("My laptop")
    assert page.get_by_label("Sign in with this passkey alone").is_checked()
    assert serious(page) == []
    page.get_by_role("button", name="Add it").click()
    page.get_by_text("The passkey is added.").wait_for()
    [row] = Authenticator.objects.filter(type="webauthn")
    assert (row.user, row.wrap().name, row.wrap().is_passwordless) == (alice, "My laptop", True)
    assert ("alice@example.com", "A passkey was added") in mailbox.letters()
    assert seen.problems() == []

    # Without address and password.
    page.context.clear_cookies()
    seen.open("/accounts/login/?next=/accounts/sessions/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(f"{site_url}/accounts/sessions/")
    assert page.get_by_text("alice@example.com").count()

    # After the password, instead of a code.
    page.context.clear_cookies()
    seen.open("/accounts/login/?next=/accounts/2fa/webauthn/")
    sign_in_by_password(page)
    page.wait_for_url(f"{site_url}/accounts/2fa/authenticate/**")
    assert serious(page) == []
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{site_url}/accounts/2fa/webauthn/")

    # As the proof before something that matters.
    seen.open("/accounts/2fa/webauthn/")
    page.get_by_role("link", name="Remove").click()
    page.get_by_role("link", name="Use a security key").click()
    page.get_by_role("button", name="Use a passkey").click()
    page.get_by_role("button", name="Remove").click()
    page.get_by_text("The passkey is removed.").wait_for()
    assert not Authenticator.objects.exists()
    assert seen.problems() == []
    page.context.close()


@pytest.mark.usefixtures("transactional_db")
def test_passkey_where_there_cannot_be_one_is_explained(chromium: Browser, site: RelayServer) -> None:
    """Without an authenticator, and on an address that is a number."""
    create_user(email="alice@example.com", password=PASSWORD)
    seen = visit(chromium, site.url)
    seen.open("/accounts/login/")
    seen.page.get_by_role("button", name="Sign in with a passkey").click()
    seen.page.get_by_text("They need https, or localhost by its name.").wait_for()
    assert serious(seen.page) == []
    assert seen.problems() == []
    assert mail.outbox == []
    seen.page.context.close()
