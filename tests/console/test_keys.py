"""The API keys' pages: a key is shown once, settings are what was typed, and nobody reaches another's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import ApiKey, Membership, User
from accounts.selectors import key_by_digest
from accounts.services import create_api_key, create_user
from billing.models import Budget
from channels_app.models import Channel
from channels_app.services import save_channel
from costrouter.lib.crypto import key_digest
from tests.cast.world import USD, World

SECRET = re.compile(r"sk-[A-Za-z0-9]{48}")


class Site:
    """Alice owns an organization, Carol is a plain member; both are signed in. `double-1` is served."""

    def __init__(self) -> None:
        self.world = World()
        self.organization = self.world.organization
        self.carol = create_user(email="carol@example.com")
        Membership.objects.create(organization=self.organization, user=self.carol, role="member")
        save_channel(
            channel=Channel(name="first", base_url="https://upstream.example/v1"),
            groups=[self.world.group],
            models={self.world.model: ""},
        )
        self.alice, self.carols = self.signed_in(self.world.alice), self.signed_in(self.carol)

    def signed_in(self, user: User) -> Client:
        client = Client()
        client.force_login(user)
        session = client.session
        session["organization"] = self.organization.pk
        session.save()
        return client

    def carols_key(self, **options: Any) -> ApiKey:
        return create_api_key(organization=self.organization, user=self.carol, name="Carol's", **options)[0]


@pytest.fixture
def site(db: None) -> Site:
    return Site()


def form(**given: str | list[str]) -> dict[str, Any]:
    return {"name": "Nightly", "group": "default", "expiry": "", "window": "total", "once": "token-1", **given}


def text(response: Any) -> str:
    content: str = response.content.decode()
    return content


def test_a_new_key_is_shown_once_and_works(site: Site, settings: Any) -> None:
    answer = site.alice.post(reverse("console:key-new"), form())

    page = text(answer)
    [secret] = set(SECRET.findall(page))
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store, private"
    assert page.count(secret) > 5  # the key itself and every snippet
    assert "base_url=&quot;http://testserver/v1&quot;" in page
    assert "ANTHROPIC_AUTH_TOKEN" in page and "double-1" in page
    known = key_by_digest(key_digest(settings.KEY_HASH_SECRET, secret))
    assert known is not None and known.name == "Nightly"

    key = ApiKey.objects.get(name="Nightly")
    for url in (reverse("console:keys"), reverse("console:key", args=[key.pk])):
        assert not SECRET.search(text(site.alice.get(url)))
    assert secret not in str(dict(site.alice.session))


def test_the_same_form_makes_only_one_key(site: Site) -> None:
    site.alice.post(reverse("console:key-new"), form())

    again = site.alice.post(reverse("console:key-new"), form(), follow=True)

    assert again.redirect_chain == [(reverse("console:keys"), 302)]
    assert "was sent before" in text(again)
    assert ApiKey.objects.filter(name="Nightly").count() == 1
    assert SECRET.search(text(site.alice.post(reverse("console:key-new"), form(once="token-2"))))


def test_everything_that_is_typed_is_in_the_key(site: Site) -> None:
    site.carols.post(
        reverse("console:key-new"),
        form(
            allowed_models=["double-1"],
            allowed_ips="203.0.113.7\n2001:db8::/32, 198.51.100.0/24",
            expiry="on",
            expires_at="2099-12-31T23:59",
            limit="12.5",
            window="week",
            requests_per_minute="10",
            tokens_per_minute="20000",
            concurrent_requests="3",
        ),
    )

    key = ApiKey.objects.get(name="Nightly")
    assert (key.user, key.organization, key.group) == (site.carol, site.organization, "default")
    assert key.allowed_models == ["double-1"]
    assert key.allowed_ips == ["203.0.113.7", "2001:db8::/32", "198.51.100.0/24"]
    assert key.expires_at == datetime(2099, 12, 31, 23, 59, tzinfo=UTC)
    assert (key.requests_per_minute, key.tokens_per_minute, key.concurrent_requests) == (10, 20_000, 3)
    budget = Budget.objects.get(api_key=key)
    assert (budget.limit_nanos, budget.window) == (12_500_000_000, "week")


def test_presets_count_from_now(site: Site) -> None:
    before = timezone.now()
    site.alice.post(reverse("console:key-new"), form(expiry="7"))

    at = ApiKey.objects.get(name="Nightly").expires_at
    assert at is not None and before + timedelta(days=7) <= at <= timezone.now() + timedelta(days=7)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": ""}, "This field is required"),
        ({"group": "nowhere"}, "not one of the available choices"),
        ({"allowed_models": ["unknown"]}, "not one of the available choices"),
        ({"allowed_ips": "everywhere"}, "does not appear to be an IPv4 or IPv6 network"),
        ({"expiry": "on"}, "Choose a date and time"),
        ({"expiry": "on", "expires_at": "2020-01-01T00:00"}, "That is in the past"),
        ({"limit": "0"}, "above zero"),
        ({"limit": "-5"}, "above zero"),
        ({"limit": "9999999999"}, "at most 2,000,000,000"),
        ({"limit": "1.0000000001"}, "no more than 9 decimal places"),
        ({"requests_per_minute": "0"}, "greater than or equal to 1"),
    ],
)
def test_a_mistake_is_said_and_makes_no_key(site: Site, given: dict[str, Any], said: str) -> None:
    answer = site.alice.post(reverse("console:key-new"), form(**given))

    assert answer.status_code == 422
    assert said in text(answer)
    assert not SECRET.search(text(answer))
    assert ApiKey.objects.count() == 2  # those of the world


def test_a_key_is_changed_on_its_page(site: Site) -> None:
    key = site.carols_key(allowed_models=["double-1"], expires_at=datetime(2099, 1, 2, 3, 4, 5, 6, tzinfo=UTC))
    url = reverse("console:key", args=[key.pk])
    page = text(site.carols.get(url))
    assert 'value="double-1" checked' in page
    assert "As it is: 2099-01-02 03:04 UTC" in page

    kept = site.carols.post(url, form(name="Renamed", expiry="keep", limit="3", window="month"), follow=True)

    key.refresh_from_db()
    assert kept.redirect_chain == [(url, 302)]
    assert (key.name, key.allowed_models) == ("Renamed", [])
    assert key.expires_at == datetime(2099, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert Budget.objects.get(api_key=key).limit_nanos == 3 * USD
    assert 'value="3"' in text(kept)


def test_rotation_shows_the_new_key_once(site: Site) -> None:
    key = site.carols_key()
    url = reverse("console:key-rotate", args=[key.pk])

    answer = site.carols.post(url, {"overlap": "3600", "once": "token-1"})

    [secret] = set(SECRET.findall(text(answer)))
    assert answer.headers["Cache-Control"] == "no-store, private"
    key.refresh_from_db()
    assert key.prefix == secret[:11]
    assert key.previous_expires_at is not None
    again = site.carols.post(url, {"overlap": "3600", "once": "token-1"}, follow=True)
    key.refresh_from_db()
    assert not SECRET.search(text(again)) and key.prefix == secret[:11]
    assert "Rotating" in text(again)
    assert site.carols.post(url, {"overlap": "99", "once": "token-2"}).status_code == 422


def test_a_key_is_disabled_enabled_and_deleted(site: Site) -> None:
    key = site.carols_key()
    enable = reverse("console:key-enable", args=[key.pk])

    assert "Disabled" in text(site.carols.post(enable, {"enabled": "0"}, follow=True))
    key.refresh_from_db()
    assert not key.enabled
    site.carols.post(enable, {"enabled": "1"})
    key.refresh_from_db()
    assert key.enabled
    assert site.carols.get(enable).status_code == 405

    delete = reverse("console:key-delete", args=[key.pk])
    assert "cannot be brought back" in text(site.carols.get(delete))
    key.refresh_from_db()
    assert key.deleted_at is None
    site.carols.post(delete)
    key.refresh_from_db()
    assert key.deleted_at is not None
    assert site.carols.get(reverse("console:key", args=[key.pk])).status_code == 404
    assert "No API keys yet" in text(site.carols.get(reverse("console:keys")))


def test_keys_of_others_are_not_there(site: Site) -> None:
    """Another organization's for its owner too, another member's for a plain member: 404 everywhere, and untouched."""
    mine, bobs = site.world.key, site.world.bobs_key
    before = list(ApiKey.objects.order_by("pk").values())
    for client, key in ((site.carols, mine), (site.carols, bobs), (site.alice, bobs)):
        for name in ("key", "key-rotate", "key-delete"):
            url = reverse(f"console:{name}", args=[key.pk])
            assert client.get(url).status_code == 404
            assert client.post(url, {**form(), "overlap": "0"}).status_code == 404
        url = reverse("console:key-enable", args=[key.pk])
        assert client.post(url, {"enabled": "0"}).status_code == 404
    assert list(ApiKey.objects.order_by("pk").values()) == before


def test_an_admin_sees_everybodys_keys_and_a_member_their_own(site: Site) -> None:
    site.carols_key()

    for client, names in ((site.alice, ["Carol&#x27;s", "test"]), (site.carols, ["Carol&#x27;s"])):
        page = text(client.get(reverse("console:keys")))
        assert re.findall(r'class="key-name"[^>]*>([^<]*)<', page) == names


def test_the_list_can_be_searched_and_turned(site: Site) -> None:
    for number in range(51):
        create_api_key(organization=site.organization, user=site.carol, name=f"key {number:02}")
    url = reverse("console:keys")

    def names(**query: str) -> list[str]:
        return re.findall(r'class="key-name"[^>]*>([^<]*)<', text(site.carols.get(url, query)))

    assert names() == [f"key {number:02}" for number in range(50, 0, -1)]
    assert names(page="2") == ["key 00"]
    assert names(q="KEY 4") == [f"key {number}" for number in range(49, 39, -1)]
    assert "No key matches" in text(site.carols.get(url, {"q": "zzz\x00"}))


def test_a_page_of_keys_takes_few_queries(site: Site) -> None:
    for number in range(30):
        create_api_key(organization=site.organization, user=site.carol, name=f"key {number:02}")
    for url in (reverse("console:keys"), reverse("console:key", args=[site.world.key.pk])):
        with CaptureQueriesContext(connection) as queries:
            assert site.alice.get(url).status_code == 200
        assert len(queries) <= 20, [query["sql"] for query in queries]


def test_strangers_are_asked_to_sign_in(site: Site) -> None:
    for name in ("keys", "key-new"):
        url = reverse(f"console:{name}")
        assert Client().get(url).headers["Location"].endswith(f"?next={url}")
        assert Client().post(url, form()).status_code == 302
    assert ApiKey.objects.count() == 2


def test_names_are_text_and_not_markup(site: Site) -> None:
    site.alice.post(reverse("console:key-new"), form(name="<script>alert(1)</script>"))

    page = text(site.alice.get(reverse("console:keys")))
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
