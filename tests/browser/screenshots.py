"""`make screenshots`: every page, light and dark, desktop and phone, into docs/screenshots/. Made on a throw-away site.

Names: `page.light.desktop.webp` and so on. `python -m tests.browser.screenshots [name …]` makes only those named;
`SCREENSHOTS` is another folder.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

FOLDER = Path(os.environ.get("SCREENSHOTS") or Path(__file__).resolve().parents[2] / "docs" / "screenshots")


def main(names: list[str]) -> int:
    """Build the stage in a database of its own, serve it, and photograph it. 1 where a page did not answer 200."""
    from costrouter.serve import secretfile

    with tempfile.TemporaryDirectory(prefix="costrouter-screens-") as folder:
        os.environ.update(
            VAR_DIR=folder, DJANGO_ALLOW_ASYNC_UNSAFE="true", DJANGO_SETTINGS_MODULE="costrouter.settings"
        )
        secretfile.main()
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        return _photograph(names)


def _photograph(names: list[str]) -> int:
    from tests.browser.driver import DESKTOP, PHONE, browser, visit
    from tests.browser.site import ANYONE, PAGES
    from tests.browser.stage import build
    from tests.conftest import RelayServer

    stage = build()
    server = RelayServer().start()
    FOLDER.mkdir(parents=True, exist_ok=True)
    failed = 0
    try:
        with browser() as chromium:
            for dark in (False, True):
                for device, size in (("desktop", DESKTOP), ("phone", PHONE)):
                    for shown in PAGES:
                        if names and shown.name not in names:
                            continue
                        session = None if shown.who == ANYONE else stage.sessions[shown.who]
                        seen = visit(chromium, server.url, session=session, size=size, dark=dark)
                        answer = seen.open(shown.at(stage))
                        expected = 404 if shown.name == "not-found" else 200
                        if answer.status != expected:
                            failed += 1
                            print(f"{shown.name}: {answer.status} {answer.url}", file=sys.stderr)
                        path = FOLDER / f"{shown.name}.{'dark' if dark else 'light'}.{device}.webp"
                        # A page of thirty endpoints would be forty screens long.
                        height = min(seen.page.evaluate("document.documentElement.scrollHeight"), 2_600)
                        seen.page.set_viewport_size({"width": size[0], "height": max(size[1], height)})
                        path.write_bytes(_picture(seen.page))
                        seen.page.context.close()
    finally:
        server.stop()
    return 1 if failed else 0


def _picture(page: Page) -> bytes:
    """What a page looks like, as WebP: a quarter of a PNG's size, which Playwright itself does not make."""
    session = page.context.new_cdp_session(page)
    taken = session.send("Page.captureScreenshot", {"format": "webp", "quality": 65, "captureBeyondViewport": False})
    return base64.b64decode(taken["data"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
