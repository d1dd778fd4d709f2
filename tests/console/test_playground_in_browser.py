"""The playground in a browser: it streams through the relay, shows what the request cost, and trusts no model."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page

from accounts.models import ApiKey
from costrouter.lib.money import usd_text
from tests.browser.driver import Visit, browser, serious, visit
from tests.cast.waiting import eventually
from tests.cast.world import World
from tests.conftest import RelayServer
from tests.doubles.upstream import Reply, Upstream, delta, json_reply, sse_reply, whole_stream

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
def seen(chromium: Browser, world: World, upstream: Upstream, relay: RelayServer) -> Iterator[Visit]:
    """Alice's playground with two models, both on the upstream double."""
    second = world.new_model("double-2", input="10", output="20")
    world.new_channel(upstream.url, models={world.model: "", second: ""})
    relay.settled_down()
    client = Client()
    client.force_login(world.alice)
    tab = visit(chromium, relay.url, session=client.cookies["sessionid"].value)
    tab.open("/console/playground/")
    yield tab
    tab.page.context.close()


def send(page: Page, text: str) -> None:
    page.fill("#prompt", text)
    page.keyboard.press("Enter")


def test_it_streams_an_answer_and_shows_the_cost_that_is_charged(seen: Visit, world: World, upstream: Upstream) -> None:
    upstream.script.append(sse_reply(whole_stream("Hello ", "<b>Alice</b> ", "<script>alert(1)</script>")))

    send(seen.page, "Hi")
    seen.page.locator(".turn-figures").wait_for()

    record = world.record()
    said = seen.page.locator(".turn-model .turn-text")
    assert said.inner_text() == "Hello <b>Alice</b> <script>alert(1)</script>"
    assert said.locator("b, script").count() == 0
    assert seen.page.locator(".turn-figures strong").inner_text() == usd_text(record.cost_nanos)
    assert usd_text(record.cost_nanos) in seen.page.locator("#total").inner_text()
    link = seen.page.locator(".turn-figures a")
    assert link.get_attribute("href") == f"/console/logs/{record.pk}/"
    assert (record.user_id, ApiKey.objects.get(pk=record.api_key_id).purpose) == (world.alice.pk, "playground")
    assert "cookie" not in upstream.seen[0].headers
    assert seen.problems() == []
    assert serious(seen.page) == []


def test_a_conversation_goes_on_with_its_settings_and_code_is_set_apart(seen: Visit, upstream: Upstream) -> None:
    upstream.script.append(sse_reply(whole_stream("See:\n```python\nprint('<i>')\n```\nDone.")))
    upstream.script.append(sse_reply(whole_stream("Again.")))
    page = seen.page
    page.click(".play-more summary")
    page.fill("#system", "Be brief.")
    page.fill("#temperature", "0.5")
    page.fill("#cap", "77")

    send(page, "First")
    page.locator(".turn-figures").wait_for()
    send(page, "Second")
    page.locator(".turn-figures").nth(1).wait_for()

    asked = upstream.seen[1].json
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": "See:\n```python\nprint('<i>')\n```\nDone."},
        {"role": "user", "content": "Second"},
    ]
    assert (asked["temperature"], asked["max_tokens"], asked["model"]) == (0.5, 77, "double-1")
    assert page.locator(".turn-model pre").inner_text() == "print('<i>')"
    assert page.locator(".turn-model .said").all_inner_texts() == ["See:", "Done.", "Again."]
    assert ApiKey.objects.filter(purpose="playground").count() == 1, "one key serves until it expires"
    assert seen.problems() == []


def test_two_models_answer_side_by_side(seen: Visit, world: World, upstream: Upstream) -> None:
    upstream.default = sse_reply(whole_stream("Both."))
    page = seen.page
    page.check("#compare")

    send(page, "Hi")
    page.locator(".turn-figures").nth(1).wait_for()

    assert sorted(request.json["model"] for request in upstream.seen) == ["double-1", "double-2"]
    shown = {pane: page.locator(f"[data-pane={pane}] .turn-figures strong").inner_text() for pane in ("a", "b")}
    costs = {record.model: usd_text(record.cost_nanos) for record in world.records()}
    assert (shown["a"], shown["b"]) == (costs["double-1"], costs["double-2"])
    assert costs["double-1"] != costs["double-2"]


def test_stop_ends_the_request_and_it_is_charged_for_what_came(seen: Visit, world: World, upstream: Upstream) -> None:
    gate = threading.Event()
    parts = [delta("Once "), delta("upon"), delta(" a time")]
    upstream.script.append(Reply(parts, content_type="text/event-stream", gates={2: gate}))

    send(seen.page, "Tell me")
    seen.page.get_by_text("Once upon").wait_for()
    seen.page.click("#stop")
    seen.page.get_by_text("Stopped.").wait_for()

    eventually(lambda: [record.status for record in world.records()] == ["cancelled"])
    gate.set()
    assert world.record().cost_nanos > 0
    assert seen.page.locator("#send").is_visible()
    assert seen.errors == []


def test_an_error_is_told_in_words_and_can_be_tried_again(seen: Visit, world: World, upstream: Upstream) -> None:
    upstream.script.append(json_reply({"error": {"message": "secret of the upstream"}}, 500))
    upstream.script.append(sse_reply(whole_stream("Now.")))

    send(seen.page, "Hi")
    notice = seen.page.get_by_role("alert")
    notice.wait_for()

    assert "The provider failed" in notice.inner_text()
    assert "secret" not in notice.inner_text()
    notice.get_by_role("button", name="Try again").click()
    seen.page.get_by_text("Now.").wait_for()
    assert [row["content"] for row in upstream.seen[-1].json["messages"]] == ["Hi"]
    assert seen.violations() == []


def test_a_key_that_has_gone_is_renewed_without_a_word(seen: Visit, upstream: Upstream, relay: RelayServer) -> None:
    upstream.default = sse_reply(whole_stream("Yes."))
    send(seen.page, "One")
    seen.page.locator(".turn-figures").wait_for()
    from accounts.services import delete_api_key

    delete_api_key(key=ApiKey.objects.get(purpose="playground"))
    relay.settled_down()

    send(seen.page, "Two")
    seen.page.locator(".turn-figures").nth(1).wait_for()

    assert seen.page.get_by_role("alert").count() == 0
    assert ApiKey.objects.filter(purpose="playground", deleted_at__isnull=True).count() == 1


def test_the_conversation_is_shown_as_code(seen: Visit, relay: RelayServer) -> None:
    seen.page.fill("#prompt", "It's me")
    seen.page.click("#code")

    python, curl = seen.page.locator("#code-blocks pre").all_inner_texts()

    assert f'OpenAI(base_url="{relay.url}/v1", api_key="YOUR_KEY")' in python
    assert compile(python, "code", "exec")
    assert "It'\\''s me" in curl
    assert f"curl {relay.url}/v1/chat/completions" in curl
    assert seen.problems() == []
