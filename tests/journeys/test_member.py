"""A new user's first day, in a real browser: sign up, verify, create a key, call `/v1` with the official SDK, find the
request in Usage Logs with its exact cost, redeem a code, and read the statement.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from django.core import mail
from django.utils import timezone

from accounts.models import AuditEntry, Organization, User
from billing.models import Wallet
from billing.redemption import codes_of, create_batch
from tests.browser.driver import Visit
from tests.cast.waiting import eventually
from tests.cast.world import USD, World
from tests.doubles.upstream import Upstream, ask, completion, json_reply


def test_member_journey(world: World, upstream: Upstream, relay: Any, tab: Callable[..., Visit], settings: Any) -> None:
    world.new_channel(upstream.url)
    usage = {"prompt_tokens": 1_234, "completion_tokens": 567, "total_tokens": 1_801}
    upstream.default = json_reply(completion("Hello there!", usage=usage))
    batch = create_batch(name="Launch", amount_nanos=5 * USD, count=1, expires_at=None, note="", actor=world.alice)
    [made] = codes_of(batch)
    assert made.code is not None
    relay.settled_down()
    seen = tab()
    page = seen.page

    # Sign up, and prove the address with the code that was mailed.
    seen.open("/accounts/signup/")
    page.get_by_label("E-mail").fill("new@example.com")
    page.get_by_label("Name").fill("Nina New")
    page.get_by_label("Password").fill("a long and quiet river")
    page.get_by_role("button", name="Create account").click()
    page.get_by_label("Code").wait_for()
    [sent] = mail.outbox
    assert sent.to == ["new@example.com"]
    found = re.search(r"^\s*([A-Z0-9]+-?[A-Z0-9]{2,})\s*$", sent.body, re.MULTILINE)
    assert found is not None, sent.body
    page.get_by_label("Code").fill(found[1])
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url(re.compile("/console/"))
    user = User.objects.get(email="new@example.com")
    organization = user.organizations.get()
    assert organization.is_personal

    # Create a key; it is shown once.
    page.get_by_role("link", name="API keys").click()
    page.get_by_role("link", name=re.compile("Create")).first.click()
    page.get_by_label("Name").fill("Laptop")
    page.get_by_role("button", name="Create the key").click()
    secret = page.locator("#secret").inner_text()
    assert re.fullmatch(r"sk-[A-Za-z0-9]{48}", secret)

    # Without money, a request is refused in words, and leaves its record.
    client = openai.OpenAI(
        api_key=secret, base_url=f"{relay.url}/v1", max_retries=0, http_client=httpx.Client(timeout=20)
    )
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.chat.completions.create(**ask())
    assert refused.value.code == "insufficient_balance"
    assert upstream.seen == []

    # Redeem a code: it works once.
    seen.open("/console/billing/")
    for said in ("$5.00", "already"):
        page.get_by_label("Redemption code").fill(made.code.lower())
        page.get_by_role("button", name="Redeem").click()
        page.get_by_text(said).first.wait_for()
    assert Wallet.objects.get(pk=organization.pk).balance_nanos == 5 * USD

    # Call the relay with the official SDK: 1,234 × $1 + 567 × $2 a million.
    answer = client.chat.completions.create(**ask())
    assert answer.choices[0].message.content == "Hello there!"
    assert answer.usage.cost == 0.002368
    world.prove()

    # Find it in Usage Logs, with its arithmetic.
    page.get_by_role("link", name="Usage Logs").click()
    rows = page.locator("[data-log-rows] tr")
    eventually(lambda: page.reload() and rows.count() == 2)
    assert "$0.0024" in rows.first.inner_text()
    assert "$0.002368" in rows.first.inner_html()
    rows.first.get_by_role("link").first.click()
    text = page.locator("main").inner_text()
    for said in ("1,234", "567", "$0.001234", "$0.001134", "$0.002368", "double-1", "Laptop"):
        assert said in text, said

    # The statement of the month: nothing, plus five dollars, minus the request.
    seen.open(f"/console/billing/statements/{timezone.now():%Y-%m}/")
    text = page.locator("main").inner_text()
    for said in ("$5.00", "$0.002368", "$4.997632", "Redemption"):
        assert said in text, said
    assert list(
        AuditEntry.objects.filter(organization=organization, actor=user).order_by("id").values_list("action", flat=True)
    ) == ["api_key.created", "wallet.redeemed"]
    assert Organization.objects.get(pk=organization.pk).wallet.balance_nanos == 4_997_632_000
