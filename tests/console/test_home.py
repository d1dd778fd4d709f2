"""The public home page, and the pages for what goes wrong."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.views.defaults import permission_denied

from costrouter.templatetags.ui import CATEGORY_ICONS
from relay.endpoints import ENDPOINTS
from tests.cast.world import World

pytestmark = pytest.mark.any_database


@pytest.fixture
def anyone() -> Client:
    return Client()


@pytest.mark.django_db
def test_it_shows_the_base_urls_of_the_address_it_was_asked_at(anyone: Client) -> None:
    page = anyone.get("/", headers={"host": "localhost:4321"})

    text = page.content.decode()
    assert page.status_code == 200
    assert "<code>http://localhost:4321/v1</code>" in text
    assert "<code>http://localhost:4321</code>" in text
    assert "curl http://localhost:4321/v1/chat/completions" in text
    assert "OpenAI(base_url=&quot;http://localhost:4321/v1&quot;" in text
    assert "Anthropic(base_url=&quot;http://localhost:4321&quot;" in text


@pytest.mark.django_db
def test_every_endpoint_is_shown_once(anyone: Client) -> None:
    text = anyone.get("/").content.decode()

    shown = [text.count(f'<span class="method">{row.method}</span><code>{row.path}</code>') for row in ENDPOINTS]
    assert shown == [1] * len(ENDPOINTS)
    assert f"{len(ENDPOINTS)} endpoints" in text


def test_every_category_has_its_icon() -> None:
    assert CATEGORY_ICONS.keys() == {row.category for row in ENDPOINTS}


@pytest.mark.django_db
def test_it_has_no_inline_script_or_style(anyone: Client) -> None:
    page = anyone.get("/")

    text = page.content.decode()
    assert "'unsafe" not in page["content-security-policy"]
    assert "style=" not in text
    assert "<script>" not in text
    assert "onclick" not in text


def test_members_go_to_their_console(world: World, anyone: Client) -> None:
    anyone.force_login(world.alice)

    answer = anyone.get("/")

    assert (answer.status_code, answer["location"]) == (302, "/console/")


@pytest.mark.django_db
def test_only_reads_are_answered(anyone: Client) -> None:
    assert anyone.post("/").status_code == 405


@pytest.mark.django_db
def test_an_unknown_page_says_so_in_our_own_look(anyone: Client) -> None:
    answer = anyone.get("/nowhere/")

    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()
    assert "css/app.css" in answer.content.decode()


def test_a_refusal_says_its_reason(rf: RequestFactory) -> None:
    answer = permission_denied(rf.get("/console/audit/"), PermissionDenied("Only admins & owners see this."))

    assert answer.status_code == 403
    assert "Only admins &amp; owners see this." in answer.content.decode()


@pytest.mark.parametrize("name", ["400", "500", "403_csrf"])
def test_it_is_rendered_without_a_request(name: str) -> None:
    text = render_to_string(f"{name}.html", {})

    assert f'<p class="fault-code" aria-hidden="true">{name[:3]}</p>' in text
    assert "<h1></h1>" not in text


@pytest.mark.django_db
def test_a_form_without_its_token_is_told_what_to_do() -> None:
    strict = Client(enforce_csrf_checks=True)

    answer = strict.post("/accounts/login/", {"login": "alice@example.com", "password": "correct horse"})

    assert answer.status_code == 403
    assert "This form has gone stale" in answer.content.decode()


@pytest.mark.django_db
def test_pages_are_in_one_language_whatever_the_browser_prefers() -> None:
    answer = Client().get("/accounts/login/", headers={"accept-language": "de-DE,de;q=0.9"})

    assert answer.headers["content-language"] == "en"
    assert "Passwor" in answer.content.decode()
    assert "Kennwort" not in answer.content.decode() and "Passwort" not in answer.content.decode()
