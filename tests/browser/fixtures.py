"""Fixtures of tests that use a browser. `tests/conftest.py` knows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser import driver


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    with pytest.MonkeyPatch.context() as patch, driver.browser() as browser:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's loop runs in this thread
        yield browser


@pytest.fixture
def tab(chromium: Browser, relay: Any) -> Iterator[Callable[..., driver.Visit]]:
    """Open a tab in a fresh profile: `tab(session=…)`. At the end none of them may have misbehaved."""
    opened: list[driver.Visit] = []

    def open_tab(**options: Any) -> driver.Visit:
        opened.append(driver.visit(chromium, relay.url, **options))
        opened[-1].page.set_default_timeout(10_000)
        return opened[-1]

    yield open_tab
    problems = [problem for seen in opened for problem in seen.problems()]
    for seen in opened:
        seen.page.context.close()
    assert problems == []
