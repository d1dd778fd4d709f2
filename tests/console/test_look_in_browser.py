"""What `app.js` and `theme.js` do on every page, and that the menu needs neither."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.test import Client
from playwright.sync_api import Browser

from tests.browser.driver import PHONE, browser, visit
from tests.cast.world import World
from tests.conftest import RelayServer

pytestmark = pytest.mark.any_database


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright's loop runs in this thread
    try:
        with browser() as found:
            yield found
    finally:
        os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE")


@pytest.fixture
def session(chromium: Browser, world: World) -> str:
    client = Client()
    client.force_login(world.alice)
    return client.cookies["sessionid"].value


def test_a_chosen_theme_is_there_before_the_next_page_is_drawn(chromium: Browser, relay: RelayServer) -> None:
    seen = visit(chromium, relay.url, dark=False)
    seen.open("/")
    assert seen.page.locator("html").get_attribute("data-theme") is None

    seen.page.locator("[data-theme-set=dark]").click()
    dark = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    # What theme.js says is read as soon as the root exists, before any other script of the page.
    seen.page.add_init_script(
        "new MutationObserver((_, o) => { if (document.body) { window.__first = document.documentElement.dataset.theme;"
        " o.disconnect(); } }).observe(document, {childList: true, subtree: true});"
    )
    seen.open("/accounts/login/")

    assert seen.page.evaluate("window.__first") == "dark"
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    assert seen.page.locator("[data-theme-set=dark]").get_attribute("aria-pressed") == "true"
    seen.page.locator("[data-theme-set=auto]").click()
    assert seen.page.locator("html").get_attribute("data-theme") is None
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    assert seen.problems() == []
    seen.page.context.close()


def test_the_menu_of_a_phone_opens_and_closes_without_scripts(
    chromium: Browser, relay: RelayServer, session: str
) -> None:
    seen = visit(chromium, relay.url, session=session, size=PHONE, scripts=False)
    seen.open("/console/models/")
    link = seen.page.get_by_role("link", name="API keys")
    assert not link.is_visible()

    seen.page.get_by_role("button", name="Menu").click()
    assert link.is_visible()
    seen.page.keyboard.press("Escape")
    assert not link.is_visible()
    seen.page.get_by_role("button", name="Menu").click()
    link.click()

    assert seen.page.url == f"{relay.url}/console/keys/"
    seen.page.context.close()


def test_what_needs_scripts_is_not_shown_without_them(chromium: Browser, relay: RelayServer) -> None:
    seen = visit(chromium, relay.url, scripts=False)
    seen.open("/")

    assert seen.page.locator("[data-theme-set]").first.is_hidden()
    assert seen.page.locator("[data-copy]").first.is_hidden()
    # Every snippet is there, one below the other.
    assert [tab.is_visible() for tab in seen.page.locator("[data-tab]").all()] == [True] * 5
    seen.page.context.close()


def test_tabs_are_walked_by_keyboard_and_remembered(chromium: Browser, relay: RelayServer) -> None:
    seen = visit(chromium, relay.url)
    seen.open("/")
    tabs = seen.page.get_by_role("tab")
    assert tabs.nth(0).get_attribute("aria-selected") == "true"

    tabs.nth(0).focus()
    seen.page.keyboard.press("ArrowRight")

    assert tabs.nth(1).evaluate("tab => tab === document.activeElement")
    assert [panel.is_visible() for panel in seen.page.locator("[data-tab]").all()] == [False, True, False, False, False]
    chosen = tabs.nth(1).inner_text()
    seen.open("/")
    assert seen.page.get_by_role("tab", selected=True).inner_text() == chosen
    seen.page.context.close()


def test_copying_says_so(chromium: Browser, relay: RelayServer) -> None:
    seen = visit(chromium, relay.url)
    seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.open("/")
    button = seen.page.locator("[data-copy]:visible").first

    button.click()

    button.get_by_text("Copied").wait_for()
    assert seen.page.evaluate("navigator.clipboard.readText()") == button.get_attribute("data-copy")
    seen.page.context.close()


def test_the_search_of_models_answers_while_one_types(
    chromium: Browser, world: World, relay: RelayServer, session: str
) -> None:
    second = world.new_model("other", input="1", output="1")
    world.new_channel("http://127.0.0.1:9/v1", models={world.model: "", second: ""})
    seen = visit(chromium, relay.url, session=session)
    seen.open("/console/models/")
    assert seen.page.locator("#models tbody tr").count() == 2

    seen.page.keyboard.press("/")
    seen.page.keyboard.type("oth")
    seen.page.get_by_text("1 model matches").wait_for()

    assert seen.page.locator("#models tbody tr").count() == 1
    assert seen.page.url == f"{relay.url}/console/models/?q=oth"
    assert seen.problems() == []
    seen.page.context.close()


def test_what_cannot_be_undone_is_asked_first(
    chromium: Browser, world: World, relay: RelayServer, session: str
) -> None:
    seen = visit(chromium, relay.url, session=session)
    seen.open(f"/console/keys/{world.key.pk}/")
    dialog, disable = seen.page.locator("#confirm"), seen.page.get_by_role("button", name="Disable")

    disable.click()
    assert "Disable this key?" in dialog.inner_text()
    dialog.get_by_role("button", name="Cancel").click()
    assert not dialog.is_visible()
    world.key.refresh_from_db()
    assert world.key.enabled

    disable.click()
    with seen.page.expect_navigation():
        dialog.get_by_role("button", name="Disable").click()
    world.key.refresh_from_db()
    assert not world.key.enabled
    assert seen.problems() == []
    seen.page.context.close()
