"""An operator's first day in the admin, in a real browser: add a channel, test it, set group and price, see the margin,
disable it, and see requests move to another.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import httpx
import pytest
from openai import OpenAI
from playwright.sync_api import Page

from accounts.models import User
from billing.models import DayTotal
from channels_app.models import Channel, ModelGroup
from tests.browser.driver import Visit
from tests.browser.stage import session_of
from tests.cast.waiting import eventually
from tests.cast.world import World
from tests.doubles.upstream import Upstream, ask, completion, json_reply


@pytest.fixture
def second() -> object:
    double = Upstream().start()
    yield double
    double.stop()


def add_channel(page: Page, *, name: str, url: str, priority: int, group: str) -> None:
    """Fill in the form of a new channel and its one model, and save it."""
    page.get_by_role("link", name="Add channel").first.click()
    page.get_by_label("Name", exact=False).first.fill(name)
    page.locator("#id_base_url").fill(url)
    page.locator("#id_credentials").fill("sk-upstream-secret")
    page.locator("#id_allow_private_addresses").check()
    page.locator("#id_priority").fill(str(priority))
    page.locator("#id_cost_multiplier").fill("0.5")
    page.locator("#id_groups").get_by_label(group).check()
    page.get_by_role("link", name="Add another").click()
    page.locator("#channel_models-group .select2-selection:visible").click()
    page.locator(".select2-search__field").fill("story")
    page.get_by_role("option", name="story-1").click()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was added successfully").wait_for()


def test_operator_journey(
    world: World, relay: object, tab: Callable[..., Visit], upstream: Upstream, second: Upstream
) -> None:
    operator = User.objects.create_superuser("operator@example.com", "a-long-password")
    world.new_model("story-1")
    usage = {"prompt_tokens": 1_000, "completion_tokens": 500, "total_tokens": 1_500}
    for double in (upstream, second):
        double.default = json_reply(completion("Once upon a time", usage=usage))
    seen = tab(session=session_of(operator))
    page = seen.page

    # A channel, tested by one real call.
    seen.open("/admin/channels_app/channel/")
    add_channel(page, name="North", url=upstream.url, priority=10, group="default")
    page.get_by_role("link", name="North", exact=True).first.click()
    page.get_by_role("link", name="Test this channel").click()
    page.get_by_role("button", name="Send a test request").click()
    page.get_by_text("It works").wait_for()
    assert len(upstream.seen) == 1

    # The group's rate and the model's price.
    seen.open(f"/admin/channels_app/modelgroup/{world.group.pk}/change/")
    page.locator("#id_rate").fill("1.5")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was changed successfully").wait_for()
    seen.open("/admin/billing/price/add/")
    page.locator("#id_model_name").select_option("story-1")
    page.locator("#id_price_input").fill("2")
    page.locator("#id_price_output").fill("8")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was added successfully").wait_for()
    assert ModelGroup.objects.get().rate == Decimal("1.5")
    relay.settled_down()

    # A member's request is charged (1,000 × 2 + 500 × 8) ÷ 1,000,000 × 1.5 dollars, and costs half the list price.
    client = OpenAI(api_key=world.secret, base_url=f"{relay.url}/v1", http_client=httpx.Client(timeout=20))
    ask_story = {**ask(), "model": "story-1"}
    assert client.chat.completions.create(**ask_story).choices[0].message.content == "Once upon a time"
    world.prove()
    total = DayTotal.objects.get()
    assert (total.cost_nanos, total.upstream_cost_nanos) == (9_000_000, 3_000_000)
    seen.open("/admin/")
    assert "$0.006" in page.locator("#content-main").inner_text()

    # A second channel stands by; the first is disabled, and requests move.
    seen.open("/admin/channels_app/channel/")
    add_channel(page, name="South", url=second.url, priority=0, group="default")
    relay.settled_down()
    client.chat.completions.create(**ask_story)
    assert (len(upstream.seen), len(second.seen)) == (3, 0)
    page.get_by_role("row", name="North").get_by_role("checkbox").check()
    page.locator("select[name=action]").select_option("disable")
    page.get_by_role("button", name="Run").click()
    page.get_by_text("1 disabled.", exact=True).wait_for()
    assert Channel.objects.get(name="North").status == "disabled"
    relay.settled_down()
    client.chat.completions.create(**ask_story)
    assert (len(upstream.seen), len(second.seen)) == (3, 1)

    # The record says so.
    eventually(lambda: len(world.records()) == 3)
    seen.open(f"/admin/billing/usagerecord/{world.records()[-1].pk}/change/")
    assert "South" in page.locator("#content-main").inner_text()
    world.prove()
