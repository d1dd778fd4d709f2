"""Sign-in with GitHub and Google, whose servers are played here: who gets in, who is linked, and who is not."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import responses
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.contrib.auth import get_user
from django.core import mail
from django.test import Client
from requests import ConnectionError as CannotConnect

from accounts.models import AuditEntry, Membership, Organization, User
from accounts.services import create_user
from costrouter.sign_in.invited import SESSION_KEY
from tests.cast import mailbox

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
PASSWORD = "correct horse"
TOKENS = {"github": "https://github.com/login/oauth/access_token", "google": "https://oauth2.googleapis.com/token"}
GITHUB_USER = {"id": 4711, "login": "dana", "name": "Dana Scully", "email": "dana@example.com"}


def address(email: str, *, verified: bool = True, primary: bool = True) -> dict[str, Any]:
    """An entry of GitHub's list of a user's addresses."""
    return {"email": email, "verified": verified, "primary": primary, "visibility": "public"}


@pytest.fixture(autouse=True)
def _providers(settings: Any) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = {
        name: {"APPS": [{"client_id": f"{name}-id", "secret": f"{name}-secret"}], "OAUTH_PKCE_ENABLED": True}
        for name in ("github", "google")
    }


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    """Nothing reaches a real server; what is not played here fails."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def github(web: responses.RequestsMock, *addresses: dict[str, Any], **user: Any) -> None:
    """GitHub: it exchanges any code, and knows one user."""
    web.post(TOKENS["github"], json={"access_token": "gho_1", "token_type": "bearer", "scope": "user:email"})
    web.get("https://api.github.com/user", json={**GITHUB_USER, **user})
    web.get("https://api.github.com/user/emails", json=list(addresses or [address("dana@example.com")]))


def google(web: responses.RequestsMock, **claims: Any) -> None:
    """Google: it exchanges any code, and knows one user."""
    token = {
        "iss": "https://accounts.google.com",
        "aud": "google-id",
        "sub": "1001",
        "email": "dana@example.com",
        "email_verified": True,
        "given_name": "Dana",
        "family_name": "Scully",
        "iat": int(time.time()),
        "exp": int(time.time()) + 3600,
        **claims,
    }
    signed = jwt.encode(token, "not Google's key, which need not be checked over TLS", algorithm="HS256")
    web.post(TOKENS["google"], json={"access_token": "ya29", "id_token": signed, "expires_in": 3600})


def leave(visitor: Client, provider: str = "github", query: str = "process=login") -> dict[str, str]:
    """Press the button. What the provider is told."""
    answer = visitor.post(f"/accounts/{provider}/login/?{query}")
    assert answer.status_code == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.url).query).items()}


def come_back(visitor: Client, provider: str = "github", **query: str) -> Any:
    return visitor.get(f"/accounts/{provider}/login/callback/", query)


def go_through(visitor: Client, provider: str = "github", query: str = "process=login") -> Any:
    """There and back again."""
    return come_back(visitor, provider, code="code-1", state=leave(visitor, provider, query)["state"])


def signed_in(visitor: Client) -> str | None:
    """The address of whoever is signed in."""
    user = get_user(visitor)  # type: ignore[arg-type]
    return user.email if user.is_authenticated else None


def nothing_was_made() -> bool:
    return not (User.objects.exists() or SocialAccount.objects.exists() or Organization.objects.exists())


# Signing up


def test_signing_up_makes_one_user_with_a_personal_organization(visitor: Client, web: responses.RequestsMock) -> None:
    github(
        web,
        address("dana@old.example", verified=False, primary=False),
        address("dana@work.example", primary=False),
        address("dana@example.com"),
    )
    answer = go_through(visitor, query="process=login&next=/console/keys/")
    assert (answer.status_code, answer.url) == (302, "/console/keys/")
    assert signed_in(visitor) == "dana@example.com"

    user = User.objects.get()
    assert (user.email, user.name, user.has_usable_password()) == ("dana@example.com", "Dana Scully", False)
    organization = Organization.objects.get()
    assert (organization.name, organization.is_personal) == ("Dana Scully", True)
    assert organization.memberships.get().role == Membership.Role.OWNER
    assert AuditEntry.objects.filter(action="user.created").count() == 1
    # The primary verified address and no other, without another mail.
    assert list(EmailAddress.objects.values_list("email", "verified", "primary")) == [("dana@example.com", True, True)]
    assert list(SocialAccount.objects.values_list("provider", "uid", "user")) == [("github", "4711", user.pk)]
    assert not SocialToken.objects.exists()
    assert mail.outbox == []

    # Next time it is a sign-in.
    visitor.post("/accounts/logout/")
    go_through(visitor)
    assert signed_in(visitor) == "dana@example.com"
    assert (User.objects.count(), SocialAccount.objects.count(), Organization.objects.count()) == (1, 1, 1)


def test_signing_up_with_google(visitor: Client, web: responses.RequestsMock) -> None:
    google(web)
    assert go_through(visitor, "google").url == "/console/"
    user = User.objects.get()
    assert (user.email, user.name) == ("dana@example.com", "Dana Scully")
    assert signed_in(visitor) == "dana@example.com"
    assert list(EmailAddress.objects.values_list("email", "verified")) == [("dana@example.com", True)]


def test_what_the_providers_are_told(visitor: Client, web: responses.RequestsMock) -> None:
    """The code is bound to this visit: by a state in the session, and by PKCE."""
    for provider, scope in (("github", "user:email"), ("google", "email profile")):
        told = leave(visitor, provider)
        assert told["client_id"] == f"{provider}-id"
        assert told["redirect_uri"] == f"http://testserver/accounts/{provider}/login/callback/"
        assert (told["response_type"], told["code_challenge_method"]) == ("code", "S256")
        assert sorted(told["scope"].split()) == scope.split()
        {"github": github, "google": google}[provider](web)
        come_back(visitor, provider, code="code-1", state=told["state"])
        [sent] = [call.request for call in web.calls if call.request.url == TOKENS[provider]]
        form = {name: values[0] for name, values in parse_qs(str(sent.body)).items()}
        assert (form["code"], form["client_secret"]) == ("code-1", f"{provider}-secret")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        assert challenge.decode() == told["code_challenge"]
        visitor.post("/accounts/logout/")


@pytest.mark.parametrize("provider", ["github", "google"])
def test_address_that_the_provider_has_not_verified_makes_no_account(
    visitor: Client, web: responses.RequestsMock, provider: str
) -> None:
    """Whoever typed it there may own it or not; an account made now would wait for its real owner."""
    if provider == "github":
        github(web, address("dana@example.com", verified=False))
    else:
        google(web, email_verified=False)
    answer = go_through(visitor, provider)
    assert answer.status_code == 403
    assert "has not verified an e-mail address" in answer.content.decode()
    assert signed_in(visitor) is None
    assert nothing_was_made()
    assert mail.outbox == []


def test_github_that_tells_no_addresses_makes_no_account(visitor: Client, web: responses.RequestsMock) -> None:
    web.post(TOKENS["github"], json={"access_token": "gho_1"})
    web.get("https://api.github.com/user", json=GITHUB_USER)
    web.get("https://api.github.com/user/emails", status=404)
    assert go_through(visitor).status_code == 403
    assert nothing_was_made()


# Accounts that are there


def test_verified_address_signs_into_the_account_that_has_it(visitor: Client, web: responses.RequestsMock) -> None:
    user = create_user(email="dana@example.com", password=PASSWORD)
    github(web, address("dana@other.example"), address("Dana@Example.com", primary=False))
    go_through(visitor)
    assert signed_in(visitor) == "dana@example.com"
    assert list(SocialAccount.objects.values_list("provider", "user")) == [("github", user.pk)]
    assert User.objects.count() == 1
    user.refresh_from_db()
    assert user.check_password(PASSWORD)  # the owner's, who verified the address here too
    assert mailbox.letters() == [("dana@example.com", "An account was connected")]


@pytest.mark.parametrize("provider", ["github", "google"])
def test_unverified_address_never_signs_into_an_account(
    visitor: Client, web: responses.RequestsMock, provider: str
) -> None:
    """The attacker typed the victim's address at the provider."""
    create_user(email="dana@example.com", password=PASSWORD)
    if provider == "github":
        github(web, address("dana@example.com", verified=False))
    else:
        google(web, email_verified=False)
    assert go_through(visitor, provider).status_code == 403
    assert signed_in(visitor) is None
    assert not SocialAccount.objects.exists()


def test_unverified_address_beside_a_verified_one(visitor: Client, web: responses.RequestsMock) -> None:
    """The attacker's own address is verified, the victim's is listed first: an account of the attacker's own."""
    victim = create_user(email="dana@example.com", password=PASSWORD)
    github(
        web,
        address("dana@example.com", verified=False, primary=True),
        address("mallory@example.com", primary=False),
    )
    go_through(visitor)
    assert signed_in(visitor) == "mallory@example.com"
    assert SocialAccount.objects.get().user != victim
    assert list(EmailAddress.objects.filter(user=victim).values_list("email", "verified")) == [
        ("dana@example.com", True)
    ]


def test_account_that_was_never_verified_goes_to_the_owner_of_its_address(
    visitor: Client, web: responses.RequestsMock
) -> None:
    """Somebody signed up with the victim's address and a password of their own, and waits."""
    attacker = Client()
    data = {"email": "dana@example.com", "password1": "the attacker's"}
    assert attacker.post("/accounts/signup/", data).url == "/accounts/confirm-email/"
    github(web)
    go_through(visitor)
    assert signed_in(visitor) == "dana@example.com"

    user = User.objects.get()
    assert not user.has_usable_password()
    assert list(EmailAddress.objects.values_list("email", "verified", "primary")) == [("dana@example.com", True, True)]
    assert SocialAccount.objects.get().user == user
    attacker.get("/accounts/confirm-email/")
    attacker.post("/accounts/login/", {"login": "dana@example.com", "password": "the attacker's"})
    assert signed_in(attacker) is None


def test_account_that_was_entered_but_is_not_verified_is_not_linked(
    visitor: Client, web: responses.RequestsMock
) -> None:
    user = create_user(email="dana@example.com", password=PASSWORD, email_verified=False)
    User.objects.update(last_login=user.date_joined)
    github(web)
    assert go_through(visitor).url == "/accounts/confirm-email/"
    assert signed_in(visitor) is None
    assert not SocialAccount.objects.exists()
    assert mailbox.letters() == [("dana@example.com", "You have an account at CostRouter")]


def test_second_factor_is_asked_for_after_the_provider_too(visitor: Client, web: responses.RequestsMock) -> None:
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    user = create_user(email="dana@example.com", password=PASSWORD)
    TOTP.activate(user, generate_totp_secret())
    github(web)
    assert go_through(visitor).url == "/accounts/2fa/authenticate/"
    assert signed_in(visitor) is None


def test_user_who_is_switched_off_does_not_get_in(visitor: Client, web: responses.RequestsMock) -> None:
    create_user(email="dana@example.com", password=PASSWORD, is_active=False)
    github(web)
    assert go_through(visitor).url == "/accounts/inactive/"
    assert signed_in(visitor) is None


# Connecting


def test_connect_and_disconnect(visitor: Client, web: responses.RequestsMock) -> None:
    """Whose account it is was proven by the password; the provider's address need not be the same."""
    user = create_user(email="alice@example.com", password=PASSWORD)
    visitor.post("/accounts/login/", {"login": "alice@example.com", "password": PASSWORD})
    github(web)
    answer = go_through(visitor, query="process=connect")
    assert answer.url.startswith("/accounts/reauthenticate/")
    assert not SocialAccount.objects.exists()
    answer = visitor.post("/accounts/reauthenticate/", {"password": PASSWORD})
    assert answer.url == "/accounts/3rdparty/"
    account = SocialAccount.objects.get()
    assert (account.user, account.uid) == (user, "4711")
    assert signed_in(visitor) == "alice@example.com"
    assert mailbox.letters() == [("alice@example.com", "An account was connected")]
    page = visitor.get("/accounts/3rdparty/").content.decode()
    assert "GitHub" in page and "dana" in page

    visitor.post("/accounts/3rdparty/", {"account": account.pk})
    assert not SocialAccount.objects.exists()
    assert mailbox.letters()[1:] == [("alice@example.com", "An account was disconnected")]


def test_account_of_somebody_else_is_neither_connected_nor_disconnected(
    visitor: Client, web: responses.RequestsMock
) -> None:
    github(web)
    go_through(visitor)
    dana = User.objects.get()
    other = Client()
    create_user(email="alice@example.com", password=PASSWORD)
    other.post("/accounts/login/", {"login": "alice@example.com", "password": PASSWORD})
    other.post("/accounts/reauthenticate/", {"password": PASSWORD})
    answer = go_through(other, query="process=connect")
    assert "signs in to another account" in other.get(answer.url).content.decode()
    other.post("/accounts/3rdparty/", {"account": SocialAccount.objects.get().pk})
    assert SocialAccount.objects.get().user == dana


def test_last_way_in_is_not_disconnected(visitor: Client, web: responses.RequestsMock) -> None:
    github(web)
    go_through(visitor)
    answer = visitor.post("/accounts/3rdparty/", {"account": SocialAccount.objects.get().pk})
    assert "no password set up" in answer.content.decode()
    assert SocialAccount.objects.exists()
    # A password makes it possible.
    assert visitor.get("/accounts/password/change/").url == "/accounts/password/set/"
    visitor.post("/accounts/password/set/", {"password1": "a long password", "password2": "a long password"})
    visitor.post("/accounts/reauthenticate/", {"password": "a long password"})
    visitor.post("/accounts/3rdparty/", {"account": SocialAccount.objects.get().pk})
    assert not SocialAccount.objects.exists()


# What goes wrong


def test_state_that_is_not_of_this_visit(visitor: Client, web: responses.RequestsMock) -> None:
    """A link with somebody else's code would sign the victim into the attacker's account."""
    github(web)
    theirs = leave(Client())["state"]
    for state in (theirs, "made-up", ""):
        answer = come_back(visitor, code="code-1", state=state)
        assert "That did not work" in answer.content.decode()
    mine = leave(visitor)["state"]
    assert "That did not work" in come_back(visitor, "google", code="code-1", state=mine).content.decode()
    assert len(web.calls) == 0
    assert nothing_was_made()


def test_state_works_once(visitor: Client, web: responses.RequestsMock) -> None:
    github(web)
    state = leave(visitor)["state"]
    assert come_back(visitor, code="code-1", state=state).url == "/console/"
    visitor.post("/accounts/logout/")
    assert "That did not work" in come_back(visitor, code="code-1", state=state).content.decode()
    assert signed_in(visitor) is None


def test_after_the_provider_nobody_is_led_elsewhere(visitor: Client, web: responses.RequestsMock) -> None:
    github(web)
    assert go_through(visitor, query="process=login&next=https://evil.example/").url == "/console/"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"error": "bad_verification_code"}),
        (401, {"error": "incorrect_client_credentials"}),
        (500, {"message": "down"}),
        (200, None),
    ],
)
def test_provider_that_refuses_the_code(
    visitor: Client, web: responses.RequestsMock, status: int, body: dict[str, Any] | None
) -> None:
    if body is None:
        web.post(TOKENS["github"], body=CannotConnect("no route"))
    else:
        web.post(TOKENS["github"], body=json.dumps(body), status=status, content_type="application/json")
    answer = go_through(visitor)
    assert "That did not work" in answer.content.decode()
    assert nothing_was_made()


@pytest.mark.parametrize("url", ["https://api.github.com/user", "https://api.github.com/user/emails"])
def test_provider_that_does_not_tell_who_it_is(visitor: Client, web: responses.RequestsMock, url: str) -> None:
    github(web)
    web.replace("GET", url, status=503)
    assert "That did not work" in go_through(visitor).content.decode()
    assert nothing_was_made()


@pytest.mark.parametrize(
    "claims",
    [{"aud": "another-site"}, {"iss": "https://evil.example"}, {"exp": 1_700_000_000}],
)
def test_identity_that_google_gave_to_another_site(
    visitor: Client, web: responses.RequestsMock, claims: dict[str, Any]
) -> None:
    google(web, **claims)
    assert "That did not work" in go_through(visitor, "google").content.decode()
    assert nothing_was_made()


def test_visitor_who_cancels_at_the_provider(visitor: Client) -> None:
    state = leave(visitor)["state"]
    answer = visitor.get("/accounts/github/login/callback/", {"error": "access_denied", "state": state}, follow=True)
    assert "You cancelled" in answer.content.decode()
    assert nothing_was_made()


def test_a_link_does_not_start_a_sign_in(visitor: Client) -> None:
    answer = visitor.get("/accounts/github/login/")
    assert answer.status_code == 200
    assert "Continue with GitHub" in answer.content.decode()
    assert Client(enforce_csrf_checks=True).post("/accounts/github/login/").status_code == 403


# Settings


def test_providers_that_are_not_configured_are_not_there(visitor: Client, settings: Any) -> None:
    page = visitor.get("/accounts/login/")
    assert "Continue with GitHub" in page.content.decode() and "Continue with Google" in page.content.decode()
    policy = "form-action 'self' https://github.com https://accounts.google.com;"
    assert policy in page.headers["Content-Security-Policy"]
    assert "form-action 'self';" in visitor.get("/nowhere/").headers["Content-Security-Policy"]

    settings.SOCIALACCOUNT_PROVIDERS = {"google": settings.SOCIALACCOUNT_PROVIDERS["google"]}
    page = visitor.get("/accounts/login/")
    assert "GitHub" not in page.content.decode() and "Continue with Google" in page.content.decode()
    assert "form-action 'self' https://accounts.google.com;" in page.headers["Content-Security-Policy"]
    assert visitor.post("/accounts/github/login/").status_code == 404
    assert visitor.get("/accounts/github/login/callback/?code=1&state=2").status_code == 404
    assert visitor.post("/accounts/google/login/token/", {"credential": "x"}).status_code == 404


def test_sign_up_closed(visitor: Client, web: responses.RequestsMock, settings: Any) -> None:
    settings.SIGN_UP = "closed"
    github(web)
    assert "by invitation" in go_through(visitor).content.decode()
    assert nothing_was_made()
    # Who has an account signs in.
    create_user(email="dana@example.com", password=None)
    go_through(visitor)
    assert signed_in(visitor) == "dana@example.com"


def test_sign_up_closed_and_invited(visitor: Client, web: responses.RequestsMock, settings: Any) -> None:
    settings.SIGN_UP = "closed"
    github(web, address("dana@example.com"), address("dana@work.example", primary=False))

    def invited(email: str) -> Client:
        client = Client()
        session = client.session
        session[SESSION_KEY] = email
        session.save()
        return client

    answer = go_through(invited("somebody@else.example"))
    assert answer.status_code == 403
    assert "somebody@else.example" in answer.content.decode()
    assert nothing_was_made()
    client = invited("dana@work.example")
    go_through(client)
    assert signed_in(client) == "dana@work.example"
    assert list(EmailAddress.objects.values_list("email", "verified", "primary")) == [("dana@work.example", True, True)]
