"""The docs page: complete, searchable without scripts, filled in for its reader, cheap."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from accounts.models import ApiKey, Membership
from accounts.selectors import key_by_digest
from accounts.services import create_user
from channels_app.models import ModelGroup
from channels_app.services import default_group, save_group, set_channels_status
from costrouter.lib import crypto
from costrouter.reference import entries, errors, guides, served, views
from costrouter.reference.data import CATEGORIES, DOCS
from costrouter.reference.entries import ENTRIES
from costrouter.reference.marks import BASE, KEY, MODEL_MARK, SOCKET
from relay.endpoints import ENDPOINTS
from relay.entry import auth
from relay.errors import ERRORS
from relay.exchange import reply

pytestmark = pytest.mark.any_database

SECRET = "sk-" + "k" * 48


@pytest.fixture
def reader():
    """Somebody who is not signed in. No database is open: one that is asked fails the test."""
    return Client()


@pytest.fixture
def alice(db):
    default_group()
    user = create_user(email="alice@example.com", password="correct horse")
    client = Client()
    client.force_login(user)
    client.user = user
    return client


def page(client, path="/docs/", **options):
    answer = client.get(path, **options)
    assert answer.status_code == 200
    return answer.content.decode()


def shown(html):
    """The endpoints of a page, in its order."""
    return re.findall(r'<details class="ref-entry" id="api-([^"]+)"', html)


def test_every_endpoint_has_its_words_and_no_words_are_without_one():
    assert DOCS.keys() == {row.name for row in ENDPOINTS}
    assert {row.category for row in ENDPOINTS} == {category.name for category in CATEGORIES}


def test_the_page_has_every_endpoint_and_counts_those_of_models(reader):
    html = page(reader)
    assert sorted(shown(html)) == sorted(ENTRIES)
    counts = re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", html)[:3]
    assert counts == [("Model API endpoints", "30"), ("Categories", "8"), ("Authentication", "API Key")]
    for entry in ENTRIES.values():
        assert f"<h4>{entry.doc.title}</h4>" in html
        assert f'href="/docs/#api-{entry.name}"' in html


def test_what_the_seed_asks_for_is_there(reader):
    html = page(reader)
    for text in (
        *("Core concepts", "Choosing a model", "Common errors and fixes", "Contact us", "Quick start", "Streaming"),
        *("Authorization: Bearer sk-xxxx", "Content Type", "Model Examples", "Request Example", "Response Example"),
        *("Authentication failed", "No access or balance", "Rate limited", "Upstream or routing failure"),
    ):
        assert text in html
    assert 'href="/docs/openapi.json"' in html


def test_no_mark_is_left_on_a_page(reader):
    for path in ("/docs/", "/docs/realtime/", "/docs/?model=small"):
        html = page(reader, path)
        for mark in (BASE, SOCKET, MODEL_MARK, "base-url.invalid"):
            assert mark not in html


def test_an_id_stands_once_on_a_page(reader):
    for path in ("/docs/", "/docs/messages/"):
        ids = re.findall(r'\bid="([^"]+)"', page(reader, path))
        assert len(ids) == len(set(ids))
        links = set(re.findall(r'href="/docs/#([^"]+)"', page(reader, path)))
        assert path != "/docs/" or links <= set(ids)


def test_an_endpoint_has_a_page_of_its_own(reader):
    for name, entry in ENTRIES.items():
        html = page(reader, f"/docs/{name}/")
        assert f"<h1>{entry.doc.title}</h1>" in html
        assert html.count("<h1") == 1
    assert reader.get("/docs/nothing/").status_code == 404


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=rerank", {"rerank"}),
        ("q=COUNT_tokens+Google", {"gemini.count_tokens"}),
        ("q=previous_response_id", {"responses", "responses.compact"}),
        ("q=sora-2", {"videos.create"}),
        ("method=DELETE", {"videos.delete"}),
        ("category=anthropic", {"messages", "messages.count_tokens"}),
        ("provider=Cohere", {"rerank"}),
        ("provider=MiniMax&method=GET", {"videos.list", "videos.get", "videos.content"}),
        ("q=nothing+at+all+of+this+kind", set()),
        ("method=PATCH", set()),
    ],
)
def test_filters_work_without_scripts(reader, query, expected):
    html = page(reader, f"/docs/?{query}")
    assert set(shown(html)) == expected
    assert ("data-none hidden" in html) == bool(expected)


def test_what_is_searched_for_is_shown_as_text(reader):
    html = page(reader, "/docs/", query_params={"q": '"><script>alert(1)</script>', "model": "a'; rm -rf /"})
    assert "<script>alert" not in html
    assert "rm -rf" not in html


def test_snippets_have_the_address_that_the_page_was_asked_at(reader, settings):
    html = page(reader, headers={"host": "relay.example:8443"}, secure=True)
    assert "https://relay.example:8443/v1/chat/completions" in html
    assert "wss://relay.example:8443/v1/realtime" in html
    settings.PUBLIC_URL = "https://api.example"
    html = page(reader, headers={"host": "relay.example"})
    assert "https://api.example/v1/chat/completions" in html
    assert "http://relay.example" not in html


def test_a_model_can_be_asked_for(reader):
    html = page(reader, "/docs/?model=org/small:free")
    assert "&quot;model&quot;: &quot;org/small:free&quot;" in html
    assert "/v1beta/models/org/small:free:generateContent" in html
    assert "&quot;model&quot;: &quot;gpt-image-2&quot;" in html


def test_contact_is_shown_where_there_is_one(reader, settings):
    settings.CONTACT = ""
    assert "Ask whoever runs this service" in page(reader)
    settings.CONTACT = "help@example.com"
    assert 'href="mailto:help@example.com"' in page(reader)
    settings.CONTACT = "https://example.com/help"
    assert 'href="https://example.com/help"' in page(reader)


def test_the_page_is_small_and_asks_no_database(reader):
    # A query would fail: this test has not asked for the database.
    assert len(reader.get("/docs/").content) < 400_000


def test_every_error_is_explained(reader):
    html = page(reader)
    for code in ERRORS.keys() - {"client_gone"}:
        assert f"<dt><code>{code}</code>" in html
    codes = {common.label: common.codes for common in errors.COMMON}
    assert codes["401"] == ("invalid_api_key",)
    assert {"insufficient_balance", "key_disabled", "model_not_allowed"} <= set(codes["403"])
    assert codes["429"] == ("rate_limit_exceeded", "upstream_rate_limited")
    assert {"upstream_error", "no_channel", "upstream_timeout"} <= set(codes["5xx"])


def test_every_header_that_a_browser_may_read_is_explained():
    told = {name for name, _ in guides.HEADERS}
    assert set(reply._EXPOSED.decode().split(", ")) <= told


@pytest.mark.parametrize("row", guides.KEY_PLACES, ids=[how for _, how, _ in guides.KEY_PLACES])
def test_a_key_is_read_wherever_the_page_says(row):
    place, how = str(row[0]), row[1].replace(KEY, SECRET)
    if place == "Header":
        name, value = how.split(": ")
        assert auth.key_of({name.lower().encode(): value.encode()}, "") == SECRET
    elif place == "Query":
        assert auth.key_of({}, how.removeprefix("?")) == SECRET
    else:
        from relay.realtime.websocket import _take_key

        headers: dict[bytes, bytes] = {}
        _take_key(headers, ["realtime", how])
        assert auth.key_of(headers, "") == SECRET


def test_searching_looks_at_names_paths_and_parameters():
    assert [entry.name for entry in entries.search(text="/v1/messages", method="POST")] == [
        "messages",
        "messages.count_tokens",
    ]
    assert entries.search() == list(ENTRIES.values())


# A key made on the page


def made_key(html):
    [secret] = re.findall(r'<code id="ref-made">(sk-[A-Za-z0-9]{48})</code>', html)
    return secret


def test_a_key_that_is_made_on_the_page_is_in_its_snippets_this_once(alice, settings):
    assert "Create an API key" in page(alice)
    answer = alice.post("/docs/key/")
    html = answer.content.decode()
    secret = made_key(html)
    key = ApiKey.objects.get()
    assert (key.name, key.user, key.organization) == (views.KEY_NAME, alice.user, alice.user.organizations.get())
    assert key_by_digest(crypto.key_digest(settings.KEY_HASH_SECRET, secret)).id == key.pk
    assert f"Authorization: Bearer {secret}" in html
    assert KEY not in html
    assert "no-store" in answer["cache-control"]
    again = page(alice)
    assert secret not in again and KEY in again


def test_where_no_group_is_open_the_page_says_so(alice):
    ModelGroup.objects.update(is_public=False)
    answer = alice.post("/docs/key/", follow=True)
    assert answer.redirect_chain == [("/docs/", 302)]
    assert "notice-error" in answer.content.decode() or "notice-bad" in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_others_make_no_key(db, alice):
    answer = Client().post("/docs/key/")
    assert answer.status_code == 302 and answer["location"].startswith("/accounts/login/")
    assert alice.get("/docs/key/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice.user)
    assert strict.post("/docs/key/").status_code == 403
    assert not ApiKey.objects.exists()


def test_the_key_is_of_the_organization_that_was_chosen(alice):
    bob = create_user(email="bob@example.com", password="battery staple")
    theirs = bob.organizations.get()
    session = alice.session
    session["organization"] = theirs.pk
    session.save()
    # She is no member of it.
    alice.post("/docs/key/")
    assert ApiKey.objects.get().organization == alice.user.organizations.get()
    Membership.objects.create(organization=theirs, user=alice.user, role=Membership.Role.MEMBER)
    alice.post("/docs/key/")
    assert ApiKey.objects.latest("pk").organization == theirs


def test_somebody_without_an_organization_is_sent_to_make_one(alice):
    Membership.objects.all().delete()
    answer = alice.post("/docs/key/")
    assert (answer.status_code, answer["location"]) == (302, "/console/organizations/new/")
    assert not ApiKey.objects.exists()


# The model of the examples


def test_examples_name_a_model_that_this_site_serves(world, relay, monkeypatch):
    world.new_model("costly", input="5", output="20")
    cheap = world.new_model("cheap", input="0.1", output="0.2")
    silent = world.new_model("embedder", input="0.01")
    unpriced = world.new_model("unpriced")
    models = dict.fromkeys([world.model, cheap, silent, unpriced], "")
    channel = world.new_channel("http://127.0.0.1:1/v1", models=models)
    relay.settled_down()
    monkeypatch.setattr("costrouter.asgi.application", relay.application)
    assert served.model_for_examples() == "cheap"
    html = page(Client(), "/docs/chat.completions/")
    assert "&quot;model&quot;: &quot;cheap&quot;" in html
    # What is asked for goes before it.
    assert "&quot;model&quot;: &quot;costly&quot;" in page(Client(), "/docs/chat.completions/?model=costly")
    # A channel that is off serves nothing.
    set_channels_status(channels=[channel], status="disabled")
    relay.settled_down()
    assert served.model_for_examples() == ""


def test_a_models_name_is_no_markup_and_no_command(reader, monkeypatch):
    monkeypatch.setattr(served, "model_for_examples", lambda: "<b>x'; reboot'</b>")
    html = page(reader, "/docs/chat.completions/")
    assert "reboot" not in html
    assert guides.CHAT.doc.models[0] in html


def test_examples_keep_their_own_model_where_it_is_served(world, relay, monkeypatch):
    models = {world.model: "", world.new_model("gpt-4o", input="5", output="20"): ""}
    world.new_channel("http://127.0.0.1:1/v1", models=models)
    relay.settled_down()
    monkeypatch.setattr("costrouter.asgi.application", relay.application)
    assert served.model_for_examples() == ""
    assert "&quot;model&quot;: &quot;gpt-4o&quot;" in page(Client())


def test_a_group_that_is_not_open_tells_nothing(world, relay, monkeypatch):
    world.new_channel("http://127.0.0.1:1/v1")
    world.group.is_public = False
    save_group(group=world.group)
    relay.settled_down()
    monkeypatch.setattr("costrouter.asgi.application", relay.application)
    assert served.model_for_examples() == ""
