"""The operator's overview: figures against the period before, channels' health, what waits, what is to be done."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Organization, User
from accounts.services import create_organization
from billing.models import DayTotal, Hold, UsageRecord, Wallet
from billing.reports.operator import MOST_COUNTED
from channels_app.models import Channel, ChannelHealth, ChannelHour, Provider
from channels_app.services import save_channel, set_channels_status
from costrouter.dashboard import checklist
from costrouter.lib import ids
from tests.cast.admin import Acme, acme, operator, record, some_of_everything, staff

pytestmark = pytest.mark.django_db
USD = 1_000_000_000


def today() -> date:
    return timezone.now().date()


def total(cast: Acme, *, ago: int = 0, **given: Any) -> DayTotal:
    values: dict[str, Any] = {
        "day": today() - timedelta(days=ago),
        "organization_id": cast.organization.pk,
        "model": "gpt-small",
        "api_key_id": cast.key.pk,
        "channel_id": cast.channel.pk,
        "requests": 10,
    }
    return DayTotal.objects.create(**{**values, **given})


def overview(client: Client, query: str = "") -> Any:
    answer = client.get(f"/admin/?{query}")
    assert answer.status_code == 200
    return answer.context


def cards(context: Any, part: str = "figures") -> dict[str, Any]:
    return {card.title: card for card in context[part]}


def rows(client: Client, url: str) -> list[str]:
    """The keys that a drill-down's list shows."""
    answer = client.get(url)
    assert answer.status_code == 200, url
    return [str(row.pk) for row in answer.context["cl"].result_list]


def test_figures_of_a_period_stand_against_those_of_the_period_before() -> None:
    client, cast = operator(), acme()
    total(cast, requests=90, failures=9, cost_nanos=3 * USD, upstream_cost_nanos=USD, first_byte_ms=9_000, timed=45)
    total(cast, ago=6, requests=10, failures=1, cost_nanos=USD, upstream_cost_nanos=USD, first_byte_ms=1_000, timed=5)
    total(cast, ago=7, requests=50, failures=1, cost_nanos=2 * USD, upstream_cost_nanos=USD, first_byte_ms=800, timed=8)
    total(cast, ago=14, requests=7_000, cost_nanos=900 * USD)

    found = cards(overview(client))

    assert {title: card.value for title, card in found.items()} == {
        "Revenue": "$4.00",
        "Upstream cost": "$2.00",
        "Margin": "$2.00",
        "Requests": "100",
        "Error rate": "10.0%",
        "First byte, on average": "200 ms",
    }
    assert found["Margin"].note == "50.0% of revenue"
    assert found["Revenue"].detail == "up 100.0%; $2.00 in the 7 days before"
    assert found["Requests"].detail == "up 100.0%; 50 in the 7 days before"
    assert found["Error rate"].detail == "2.0% in the 7 days before"
    assert found["Error rate"].tone == "bad"
    assert found["First byte, on average"].detail == "up 100.0%; 100 ms in the 7 days before"


@pytest.mark.parametrize(
    ("query", "requests", "days"),
    [("period=today", 1, 1), ("period=7", 3, 7), ("period=30", 7, 30), ("", 3, 7), ("period=nonsense&top=x", 3, 7)],
)
def test_the_period_is_chosen(query: str, requests: int, days: int) -> None:
    client, cast = operator(), acme()
    for ago, count in ((0, 1), (6, 2), (29, 4), (30, 8)):
        total(cast, ago=ago, requests=count)

    context = overview(client, query)

    assert cards(context)["Requests"].value == str(requests)
    assert len(context["chart"]["rows"]) == days
    assert [link["current"] for link in context["periods"]].count(True) == 1
    if days == 1:
        assert cards(context)["Requests"].detail == "0 all of yesterday"


def test_amounts_are_exact_and_a_loss_is_seen() -> None:
    client, cast = operator(), acme()
    total(cast, cost_nanos=1_234_567_891, upstream_cost_nanos=2_000_000_000)

    context = overview(client, "period=today")

    found = cards(context)
    assert (found["Revenue"].value, found["Revenue"].exact) == ("$1.23", "$1.234567891")
    assert (found["Margin"].exact, found["Margin"].tone) == ("-$0.765432109", "bad")
    [row] = context["chart"]["rows"]
    assert row["cells"][:3] == ["$1.234567891", "$2.00", "-$0.765432109"]
    [bar] = context["chart"]["drawn"].bars
    assert [part.series for part in bar.parts] == [1, 3]


def test_an_empty_installation_has_a_page_too() -> None:
    context = overview(operator())

    assert cards(context)["Error rate"].value == "—"
    assert context["chart"]["empty"] is True
    assert [top["rows"] for top in context["tops"]] == [[], [], []]
    assert context["channels"]["rows"] == []
    assert [item["text"] for item in context["attention"]] == [
        "No channel is enabled: nothing can be served.",
        "The catalogue holds no model.",
    ]


def test_top_lists_are_sorted_as_asked_and_lead_to_what_they_are_made_of() -> None:
    client, cast = operator(), acme()
    other = create_organization(name="Globex", owner=cast.alice)
    total(cast, cost_nanos=5 * USD, upstream_cost_nanos=4 * USD, failures=1)
    total(cast, organization_id=other.pk, model="big", channel_id=0, cost_nanos=3 * USD, failures=5)
    total(cast, organization_id=99_999, model="", channel_id=88_888, cost_nanos=1, upstream_cost_nanos=USD)

    def names(query: str) -> list[list[str]]:
        return [[row["name"] for row in top["rows"]] for top in overview(client, query)["tops"]]

    assert names("top=revenue") == [
        ["Acme", "Globex", "#99999 (deleted)"],
        ["gpt-small", "big", "—"],
        ["Main", "No channel answered", "#88888 (deleted)"],
    ]
    assert names("top=margin")[0] == ["Globex", "Acme", "#99999 (deleted)"]
    assert names("top=errors") == [["Globex", "Acme"], ["big", "gpt-small"], ["No channel answered", "Main"]]

    organizations, models, channels = overview(client, "top=revenue")["tops"]
    assert organizations["rows"][0]["margin_share"] == "20.0%"
    own = str(DayTotal.objects.get(organization_id=cast.organization.pk).pk)
    for top in (organizations, models, channels):
        assert rows(client, top["rows"][0]["url"]) == [own]


def test_failures_and_overruns_lead_to_exactly_those_records() -> None:
    client, cast = operator(), acme()
    record(cast, overrun_nanos=0)
    cut = record(cast, status=UsageRecord.Status.UPSTREAM_ERROR, overrun_nanos=0)
    held = record(cast, status=UsageRecord.Status.REFUSED, overrun_nanos=0)
    record(cast, status=UsageRecord.Status.REFUSED, held_nanos=0, cost_nanos=0, overrun_nanos=0, attempts=[])
    over = record(cast, overrun_nanos=7)
    total(cast, requests=4, failures=2, overruns=1, overrun_nanos=7)

    context = overview(client)

    assert set(rows(client, cards(context)["Error rate"].url)) == {cut.pk, held.pk}
    overruns = cards(context, "money")["Overruns"]
    assert (overruns.exact, overruns.detail) == ("$0.000000007", "one request cost more than was held")
    assert rows(client, overruns.url) == [over.pk]
    [_, _, channels] = overview(client, "top=errors")["tops"]
    assert set(rows(client, channels["rows"][0]["url"])) == {cut.pk, held.pk}


def test_every_link_of_the_page_leads_somewhere() -> None:
    client, cast = operator(), acme()
    some_of_everything(cast)
    record(cast, status=UsageRecord.Status.UPSTREAM_ERROR)
    ChannelHealth.objects.create(
        channel=cast.channel,
        failures_in_row=5,
        recent=[{"at": "2026-11-20T12:00:00.000+00:00", "outcome": "status 500", "model": "gpt-small"}],
    )
    page = client.get("/admin/?period=30&top=errors").content.decode()

    import re

    links = {link.replace("&amp;", "&") for link in re.findall(r'href="(/(?:admin|accounts|docs|console)[^"]*)"', page)}

    assert len(links) > 40
    answers = {url: client.get(url) for url in links if "logout" not in url}
    refused = {url: answer.status_code for url, answer in answers.items() if answer.status_code not in (200, 302)}
    assert refused == {}
    # How the admin says that it does not know a filter.
    assert [url for url, answer in answers.items() if answer.headers.get("location", "").endswith("e=1")] == []


# Money


def test_money_that_waits() -> None:
    client, cast = operator(), acme()
    broke = create_organization(name="Broke", owner=cast.alice)
    Wallet.objects.update_or_create(organization=broke, defaults={"balance_nanos": -3 * USD})
    Wallet.objects.filter(pk=cast.wallet.pk).update(balance_nanos=10 * USD)
    now = timezone.now()
    for age, amount, captured in ((5, 100, True), (300, 200, True), (7_300, 30, False), (1, 4, False)):
        Hold.objects.create(
            request_id=ids.request_id(),
            wallet=cast.wallet,
            amount_nanos=amount,
            captured=captured,
            model="gpt-small",
            group="default",
            endpoint="chat.completions",
            created_at=now - timedelta(seconds=age),
        )

    found = cards(overview(client), "money")

    assert (found["Balance of all wallets"].exact, found["Wallets below zero"].value) == ("$7.00", "1")
    assert found["Wallets below zero"].detail == "$3.00 owed, on credit or by overrun"
    lag = found["Settlement lag"]
    assert (lag.value, lag.tone) == ("5 min", "bad")
    assert lag.detail == "2 charges of $0.0000003 to be written"
    running = found["Held for requests under way"]
    assert (running.exact, running.tone) == ("$0.000000034", "warn")
    assert running.detail.startswith("2 open; the oldest 2\xa0hours")
    assert len(rows(client, running.url)) == len(rows(client, lag.url)) == 2
    assert rows(client, found["Wallets below zero"].url) == [str(broke.pk)]
    assert MOST_COUNTED == 100_000


# Channels


def hours(channel: Channel, *counts: tuple[int, int, int]) -> None:
    """Attempts and failures so many hours ago."""
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    for ago, attempts, failures in counts:
        ChannelHour.objects.create(
            channel=channel,
            hour=now - timedelta(hours=ago),
            attempts=attempts,
            failures=failures,
            milliseconds=(attempts - failures) * 250,
        )


def test_channel_health_shows_shares_reasons_and_tests() -> None:
    client, cast = operator(), acme()
    hours(cast.channel, (0, 10, 0), (1, 10, 1), (2, 60, 39), (23, 20, 0), (24, 1_000, 1_000))
    ChannelHealth.objects.create(
        channel=cast.channel,
        failures_in_row=2,
        last_ok_at=timezone.now(),
        last_failure_at=timezone.now(),
        last_test_at=timezone.now() - timedelta(hours=3),
        last_test_ok=True,
        last_test_detail="gpt-small: It said: hi",
        recent=[
            {"at": (timezone.now() - timedelta(seconds=20)).isoformat(), "outcome": "status 503", "model": "gpt-small"},
            {"at": "2026-11-20T12:00:00.000+00:00", "outcome": "timeout", "model": "gpt-small"},
        ],
    )

    [row] = overview(client)["channels"]["rows"]

    assert (row["attempts"], row["hour"], row["day"]) == ("100", "5.0%", "40.0%")
    assert (row["hour_exact"], row["day_exact"]) == ("1 of 20", "40 of 100")
    assert (row["hour_bad"], row["day_bad"], row["failing"]) == (False, True, False)
    assert (row["average"], row["in_row"], row["reason"]) == ("250 ms", "2", "status 503")
    assert row["reason_ago"].endswith("s ago")
    assert (row["test_ok"], row["test_ago"]) == (True, "3\xa0hours ago")


def test_failing_channels_come_first_and_are_named() -> None:
    client, cast = operator(), acme()
    quiet = save_channel(channel=Channel(name="A quiet one", provider="openai"), groups=[cast.group])
    off = save_channel(channel=Channel(name="Off", provider="openai"), groups=[cast.group])
    set_channels_status(channels=[off], status="disabled")
    recent = [{"at": "2026-11-20T12:00:00.000+00:00", "outcome": "status 401", "model": "gpt-small"}]
    ChannelHealth.objects.create(channel=off, failures_in_row=900, recent=recent)
    ChannelHealth.objects.create(channel=cast.channel, failures_in_row=12, recent=recent)
    ChannelHealth.objects.create(channel=quiet, last_test_ok=False, last_test_at=timezone.now())

    context = overview(client)

    assert [row["name"] for row in context["channels"]["rows"]] == ["Main", "A quiet one", "Off"]
    texts = [item["text"] for item in context["attention"]]
    assert texts == ["Main: the last 12 attempts failed (status 401).", "A quiet one failed its last test."]


def test_a_channel_that_answers_again_is_no_longer_complained_about() -> None:
    client, cast = operator(), acme()
    tested = datetime(2026, 11, 20, 12, tzinfo=UTC)
    ChannelHealth.objects.create(
        channel=cast.channel, last_test_ok=False, last_test_at=tested, last_ok_at=tested + timedelta(minutes=1)
    )

    assert overview(client)["attention"] == []


# The checklist


def todo(client: Client) -> list[str]:
    found = overview(client)["checklist"]
    return [item.title for item in found["items"] if not item.done] if found else []


def test_the_checklist_shrinks_with_each_step_and_then_disappears(settings: Any) -> None:
    client = operator()
    settings.EMAIL_URL = ""
    everything = [
        "Add a channel",
        "Test it",
        "Put it into a model group",
        "Give a model a price",
        "Create the first API key",
        "Send the first request",
        "Sign in with a second factor",
        "Set up e-mail",
    ]
    assert todo(client) == everything

    cast = acme()
    assert todo(client) == ["Test it", "Send the first request", "Sign in with a second factor", "Set up e-mail"]

    ChannelHealth.objects.create(channel=cast.channel, last_test_ok=True, last_test_at=timezone.now())
    total(cast)
    assert todo(client) == ["Sign in with a second factor", "Set up e-mail"]

    user = User.objects.get(email="operator@example.com")
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={})
    settings.EMAIL_URL = "smtp://mail.example"
    assert overview(client)["checklist"] is None


def test_a_sandbox_beside_a_real_channel_wants_to_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    client = operator()
    monkeypatch.setattr(checklist, "in_production", lambda: False)
    sandbox = save_channel(channel=Channel(name="Sandbox", provider=Provider.SANDBOX))
    assert "Switch the sandbox off" not in todo(client)

    acme()
    assert "Switch the sandbox off" in todo(client)

    set_channels_status(channels=[sandbox], status="disabled")
    assert "Switch the sandbox off" not in todo(client)


def test_in_production_secrets_come_from_the_environment_and_no_sandbox_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = operator()
    monkeypatch.setattr(checklist, "in_production", lambda: True)
    save_channel(channel=Channel(name="Sandbox", provider=Provider.SANDBOX))
    secrets = "Keep the secrets in the environment, and a copy elsewhere"
    for name in ("SECRET_KEY", "KEY_HASH_SECRET", "FIELD_ENCRYPTION_KEYS"):
        monkeypatch.setenv(name, "x")
    assert "Switch the sandbox off" in todo(client)
    assert secrets not in todo(client)

    monkeypatch.delenv("KEY_HASH_SECRET")
    assert secrets in todo(client)


def test_the_checklist_can_be_hidden_for_a_session_by_a_post_alone() -> None:
    client = operator()

    assert client.get("/admin/hide-checklist/").status_code == 405
    assert todo(client)
    assert client.post("/admin/hide-checklist/").status_code == 302
    assert overview(client)["checklist"] is None

    client.logout()
    client.force_login(User.objects.get(email="operator@example.com"))
    assert todo(client)
    assert Client().post("/admin/hide-checklist/").status_code == 302


# Who sees what, and what it costs


@pytest.mark.parametrize(
    ("permission", "parts"),
    [
        ("billing.view_daytotal", {"figures", "chart", "tops"}),
        ("billing.view_wallet", {"money"}),
        ("billing.view_usagerecord", {"recent"}),
        ("channels_app.view_channel", {"channels", "attention"}),
    ],
)
def test_each_part_is_for_those_who_may_view_what_it_is_made_of(permission: str, parts: set[str]) -> None:
    cast = acme()
    some_of_everything(cast)

    context = overview(staff(permission))

    every = {"figures", "chart", "tops", "money", "recent", "channels", "attention"}
    assert {name for name in every if name in context} == parts
    assert context["checklist"] is None


def test_overruns_are_shown_to_those_alone_who_may_view_totals() -> None:
    acme()

    assert "Overruns" not in cards(overview(staff("billing.view_wallet")), "money")


def test_the_page_costs_the_same_queries_however_much_there_is(django_user_model: Any) -> None:
    client, cast = operator(), acme()
    some_of_everything(cast)
    overview(client)
    with CaptureQueriesContext(connection) as few:
        overview(client)
    for number in range(12):
        owner = create_organization(name=f"Org {number}", owner=cast.alice)
        channel = save_channel(channel=Channel(name=f"Channel {number}", provider="openai"), groups=[cast.group])
        hours(channel, (0, 5, 1))
        ChannelHealth.objects.create(channel=channel, failures_in_row=4)
        total(cast, organization_id=owner.pk, model=f"m{number}", channel_id=channel.pk, cost_nanos=number)
        record(cast, status=UsageRecord.Status.UPSTREAM_ERROR)
    assert Organization.objects.count() > 12

    with CaptureQueriesContext(connection) as many:
        overview(client)

    assert len(many) == len(few)
    assert len(many) <= 20
