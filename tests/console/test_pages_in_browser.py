"""Every page in a real browser: it answers, does nothing its policy forbids, is accessible, and light of script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import TransactionTestCase
from playwright.sync_api import Browser

from tests.browser.driver import DESKTOP, PHONE, Visit, serious, visit
from tests.browser.site import ANYONE, PAGES, Shown
from tests.browser.stage import Stage, build
from tests.conftest import RelayServer, empty_database

pytestmark = pytest.mark.any_database
MOST_SCRIPT = 150_000
WITHOUT_SCRIPTS = ("docs", "docs-endpoint", "logs", "log")


@dataclass(frozen=True)
class Site:
    stage: Stage
    url: str
    chromium: Browser

    def visit(self, shown: Shown, **options: Any) -> Visit:
        session = None if shown.who == ANYONE else self.stage.sessions[shown.who]
        return visit(self.chromium, self.url, session=session, **options)


@pytest.fixture(scope="module")
def site(chromium: Browser, django_db_setup: None, django_db_blocker: Any) -> Iterator[Site]:
    """The stage, served: made once, since no test here changes anything."""
    with django_db_blocker.unblock():
        server = RelayServer().start()
        try:
            yield Site(build(requests=300), server.url, chromium)
        finally:
            server.stop()
            empty_database()


@pytest.fixture(autouse=True)
def _keep_the_stage(_quick_flush: None, monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> None:
    """Nothing is flushed between these tests: the last one's end empties the database."""
    monkeypatch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: None)


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_page(site: Site, shown: Shown) -> None:
    # The look of the admin's pages is unfold's: of those below the first, one is enough.
    variants = ((False, DESKTOP), (True, PHONE)) if not shown.name.startswith("admin-") else ((False, DESKTOP),)
    for dark, size in variants:
        seen = site.visit(shown, dark=dark, size=size)
        answer = seen.open(shown.at(site.stage))

        assert answer.status == (404 if shown.name == "not-found" else 200), answer.url
        assert answer.url == site.url + shown.at(site.stage)
        assert seen.page.title()
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0], "it scrolls sideways"
        assert serious(seen.page) == []
        assert seen.problems() == []
        assert seen.script_bytes <= MOST_SCRIPT
        seen.page.context.close()


@pytest.mark.parametrize("shown", [shown for shown in PAGES if shown.name in WITHOUT_SCRIPTS], ids=lambda s: s.name)
def test_page_without_scripts(site: Site, shown: Shown) -> None:
    with_scripts, without = site.visit(shown), site.visit(shown, scripts=False)
    for seen in (with_scripts, without):
        assert seen.open(shown.at(site.stage)).status == 200

    # What is said in the page's main part is said without scripts too.
    said = [set(seen.page.locator("main").inner_text().split()) for seen in (with_scripts, without)]
    assert len(said[0]) > 30
    missing = said[0] - said[1]
    assert len(missing) <= len(said[0]) // 10, missing
    for seen in (with_scripts, without):
        seen.page.context.close()


def test_the_browser_notices_what_is_forbidden(site: Site) -> None:
    """The notes above would be worth nothing if a violation went unseen."""
    seen = visit(site.chromium, site.url)
    seen.open("/nowhere/")

    seen.page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = '1'; document.head.append(s); }"
    )
    seen.page.wait_for_function("window.__violations.length > 0")

    assert any(line.startswith("script-src") for line in seen.problems())
    seen.page.context.close()
