"""What scripts add to the pages of keys and requests, and that keys can be made without any."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, expect

from accounts.models import ApiKey
from billing.models import UsageRecord
from channels_app.models import CatalogueModel, ModelGroup
from channels_app.services import save_group, save_model
from costrouter.lib import ids
from tests.browser.driver import Visit, visit
from tests.cast.world import World
from tests.conftest import RelayServer

pytestmark = pytest.mark.any_database


def opened(chromium: Browser, relay: RelayServer, world: World, path: str, *, scripts: bool = True) -> Visit:
    client = Client()
    client.force_login(world.alice)
    seen = visit(chromium, relay.url, session=client.cookies["sessionid"].value, scripts=scripts)
    assert seen.open(path).status == 200
    return seen


def record(world: World) -> UsageRecord:
    return UsageRecord.objects.create(
        request_id=ids.request_id(),
        created_at=timezone.now(),
        organization=world.organization,
        user=world.alice,
        api_key=world.key,
        endpoint="chat.completions",
        model="double-1",
        group="default",
        status="ok",
        http_status=200,
    )


def test_the_live_tail_shows_what_arrives(chromium: Browser, relay: RelayServer, world: World) -> None:
    seen = opened(chromium, relay, world, "/console/logs/")
    rows = seen.page.locator("[data-log-rows] tr")
    expect(seen.page.get_by_text("No requests yet")).to_be_visible()

    seen.page.get_by_role("button", name="Live").click()
    first = record(world)
    expect(rows).to_have_count(1, timeout=15_000)
    expect(seen.page.get_by_text("No requests yet")).to_be_hidden()
    second = record(world)

    expect(rows).to_have_count(2, timeout=15_000)
    assert [row.get_attribute("id") for row in rows.all()] == [second.pk, first.pk]
    expect(rows.first).to_have_class("is-new")
    expect(seen.page.get_by_text("Live: the newest requests")).to_be_visible()
    assert seen.problems() == []
    seen.page.context.close()


def test_the_live_tail_rests_while_its_tab_is_hidden(chromium: Browser, relay: RelayServer, world: World) -> None:
    record(world)
    seen = opened(chromium, relay, world, "/console/logs/")
    page = seen.page
    hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); "
    hide += "document.dispatchEvent(new Event('visibilitychange')); }"
    page.clock.install()
    with page.expect_response(re.compile("/logs/tail/")):
        page.get_by_role("button", name="Live").click()

    page.evaluate(hide, True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    expect(page.get_by_text("Paused while this tab is hidden")).to_be_visible()
    assert asked == []

    with page.expect_response(re.compile("/logs/tail/")):
        page.evaluate(hide, False)
    page.context.close()


def test_the_form_shows_the_models_of_the_chosen_group(chromium: Browser, relay: RelayServer, world: World) -> None:
    other = save_group(group=ModelGroup(name="other"))
    small = save_model(model=CatalogueModel(name="small"))
    world.new_channel("http://127.0.0.1:9/v1")
    world.new_channel("http://127.0.0.1:9/v1", name="second", groups=[other], models={small: ""})
    seen = opened(chromium, relay, world, "/console/keys/new/")
    page = seen.page
    models = page.locator("[data-model]:visible")

    expect(models).to_have_text(["double-1"])
    page.get_by_label("Model group").select_option("other")
    expect(models).to_have_text(["small"])
    page.get_by_label("Search models").fill("nothing")
    expect(page.get_by_text("No model of this group matches.")).to_be_visible()
    expect(page.get_by_label("Date and time (UTC)")).to_be_hidden()
    page.get_by_label("Expires").select_option("on")
    expect(page.get_by_label("Date and time (UTC)")).to_be_visible()
    assert seen.problems() == []
    page.context.close()


def test_a_key_is_made_and_shown_without_scripts(chromium: Browser, relay: RelayServer, world: World) -> None:
    world.new_channel("http://127.0.0.1:9/v1")
    page = opened(chromium, relay, world, "/console/keys/new/", scripts=False).page

    page.get_by_label("Name").fill("By hand")
    page.get_by_label("double-1").check()
    page.get_by_role("button", name="Create the key").click()

    secret = page.locator("#secret").inner_text()
    key = ApiKey.objects.get(name="By hand")
    assert re.fullmatch(r"sk-[A-Za-z0-9]{48}", secret) and secret.startswith(key.prefix)
    assert key.allowed_models == ["double-1"]
    assert page.locator("pre").count() == 5
    page.context.close()
