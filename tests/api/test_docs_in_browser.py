"""The management API's docs page in a real browser: one can search it, and send what it describes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from accounts.models import ApiKey
from tests.browser.driver import Visit
from tests.browser.stage import session_of
from tests.cast.api import new_token
from tests.cast.world import World

pytestmark = pytest.mark.any_database


def send(seen: Visit, operation: str, body: str = "") -> None:
    """Open an operation and send it."""
    entry = seen.page.locator(f"#{operation}")
    entry.locator("summary").click()
    if body:
        entry.get_by_label("Body").fill(body)
    entry.get_by_role("button", name="Send").click()


def test_a_key_is_made_from_the_page_by_session(tab: Callable[..., Visit], world: World) -> None:
    seen = tab(session=session_of(world.alice))
    seen.open("/api/v1/docs/")

    send(seen, "createKey", '{"name": "from the docs"}')

    entry = seen.page.locator("#createKey")
    expect(entry.locator("[data-status]")).to_contain_text("201")
    expect(entry.locator("[data-answer]")).to_contain_text('"name": "from the docs"')
    assert ApiKey.objects.get(name="from the docs").user == world.alice
    assert seen.problems() == []


def test_a_pasted_token_is_sent_by_whoever_is_not_signed_in(tab: Callable[..., Visit], world: World) -> None:
    _, secret = new_token(world.alice, world.organization, "keys:read")
    seen = tab()
    seen.open("/api/v1/docs/")

    seen.page.get_by_label("Access token").fill(secret)
    send(seen, "listKeys")

    expect(seen.page.locator("#listKeys [data-status]")).to_contain_text("200")
    expect(seen.page.locator("#listKeys [data-answer]")).to_contain_text(f'"id": {world.key.pk}')


def test_operations_are_found(tab: Callable[..., Visit], world: World) -> None:
    seen = tab()
    seen.open("/api/v1/docs/")

    seen.page.get_by_label("Search").fill("rotate")

    expect(seen.page.locator("[data-entry]:visible")).to_have_count(1)
    expect(seen.page.locator("[data-api-found]")).to_have_text("Operations found: 1")
