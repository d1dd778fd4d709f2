"""A real browser, and pages that note what a careful site never does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Response, sync_playwright

from tests.servers import program

DESKTOP, PHONE = (1280, 900), (390, 844)
# Told by the page itself, since a violation may be neither logged nor visible.
_NOTE_VIOLATIONS = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.__violations.push([event.violatedDirective, event.blockedURI, event.sourceFile, event.sample].join(" "));
});
"""


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """A tab, and what went wrong in it: errors of scripts, violations of the policy, answers that failed, strangers.

    `script_bytes`: what the last page's scripts came to on the wire.
    """

    page: Page
    host: str
    errors: list[str] = field(default_factory=list)
    script_bytes: int = 0

    def open(self, path: str) -> Response:
        """Go to a path of the site; whatever it answers."""
        self.script_bytes = 0
        answer = self.page.goto(f"http://{self.host}{path}", wait_until="load")
        assert answer is not None
        return answer

    def violations(self) -> list[str]:
        """What the current page did against its Content-Security-Policy."""
        found: list[str] = self.page.evaluate("window.__violations || []")
        return found

    def problems(self) -> list[str]:
        """All that went wrong, with the current page's violations."""
        return [*self.errors, *self.violations()]


def visit(
    chromium: Browser,
    url: str,
    *,
    session: str | None = None,
    size: tuple[int, int] = DESKTOP,
    dark: bool = False,
    scripts: bool = True,
) -> Visit:
    """A tab in a fresh profile on a site; `session`: the session cookie of somebody signed in."""
    context = chromium.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
        reduced_motion="reduce",
        locale="en-US",
        timezone_id="UTC",
    )
    if session is not None:
        sign_in(context, url, session)
    return watched(context.new_page(), url)


def sign_in(context: BrowserContext, url: str, session: str) -> None:
    """Give a profile the session cookie of somebody signed in."""
    context.add_cookies([{"name": "sessionid", "value": session, "url": url}])


def watched(page: Page, url: str) -> Visit:
    """A tab whose misdeeds are noted."""
    seen = Visit(page, urlsplit(url).netloc)
    page.add_init_script(_NOTE_VIOLATIONS)
    page.on("pageerror", lambda error: seen.errors.append(f"script error: {error}"))

    def answered(response: Response) -> None:
        where = urlsplit(response.url)
        if where.scheme in ("http", "https") and where.netloc != seen.host:
            seen.errors.append(f"asked a stranger: {response.url}")
        if response.status >= 400 and response.request.resource_type != "document":
            seen.errors.append(f"{response.status} {response.url}")
        if response.request.resource_type == "script":
            with contextlib.suppress(Exception):
                seen.script_bytes += response.request.sizes()["responseBodySize"]

    page.on("response", answered)
    return seen


def serious(page: Page) -> list[str]:
    """axe-core's serious and critical findings on a page, one line an element."""
    from axe_playwright_python.sync_playwright import Axe

    response: dict[str, Any] = Axe().run(page).response
    return [
        f"{rule['id']} ({rule['impact']}): {node['target']} {node['html'][:120]}"
        for rule in response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
