"""The overview: what is there and what was used, within reach; for a new organization, what to do first."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import ApiKey, Membership, Organization, User
from accounts.services import create_api_key, create_user, set_organizations_status
from billing.models import DayTotal, Hold, LedgerEntry, Wallet
from billing.reports.usage import Period, Totals
from billing.services import adjust, wallet_of
from costrouter.console.overview import compared, request_chart, spend_chart, top_models
from costrouter.console.periods import chosen
from costrouter.templatetags.ui import usd_short

USD = 1_000_000_000
URL = "/console/"


class Team:
    """Alice owns an organization with 10 USD, Carol is a plain member; each has a key. Bob is elsewhere."""

    def __init__(self) -> None:
        self.alice = create_user(email="alice@example.com", password="x", name="Alice")
        self.carol = create_user(email="carol@example.com", password="x")
        self.bob = create_user(email="bob@example.com", password="x")
        self.organization = self.alice.organizations.get()
        Membership.objects.create(organization=self.organization, user=self.carol, role="member")
        self.key = self.new_key("Server", self.alice)
        self.carols = self.new_key("Notebook", self.carol)
        self.bobs = create_api_key(organization=self.bob.organizations.get(), user=self.bob, name="Bob's")[0]
        self.today = datetime.now(UTC).date()
        self.credit(10 * USD)

    def new_key(self, name: str, user: User) -> ApiKey:
        return create_api_key(organization=self.organization, user=user, name=name)[0]

    def credit(self, nanos: int, organization: Organization | None = None) -> None:
        wallet = wallet_of(organization=organization or self.organization)
        number = LedgerEntry.objects.count()
        adjust(wallet=wallet, amount_nanos=nanos, reason="Invoice", actor=self.bob, idempotency_key=f"test:{number}")

    def used(self, key: ApiKey, cost: int, *, day: date | None = None, settled: bool = True, **given: Any) -> None:
        """A day total of one request; `settled`: in the ledger and the balance too."""
        fields = {"model": "m-1", "requests": 1, "input": 10, **given}
        DayTotal.objects.create(
            day=day or self.today,
            organization_id=key.organization_id,
            api_key_id=key.pk,
            channel_id=DayTotal.objects.count() + 1,
            cost_nanos=cost,
            **fields,
        )
        if settled:
            wallet = wallet_of(organization=key.organization)
            Wallet.objects.filter(pk=wallet.pk).update(balance_nanos=wallet.balance_nanos - cost)

    def client(self, user: User) -> Client:
        client = Client()
        client.force_login(user)
        session = client.session
        session["organization"] = self.organization.pk
        session.save()
        return client


@pytest.fixture
def team(db: None) -> Team:
    return Team()


def text(response: Any) -> str:
    """The words of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_it_shows_money_and_what_was_used(team: Team) -> None:
    yesterday = team.today - timedelta(days=1)
    team.used(team.key, 2 * USD, requests=9, failures=1, first_byte_ms=900, timed=3, output=30, cache_read=5)
    team.used(team.carols, USD, model="m-2", day=yesterday)
    team.used(team.bobs, 7 * USD)
    Wallet.objects.filter(pk=team.organization.pk).update(held_nanos=USD // 2)

    page = team.client(team.alice).get(URL)

    assert page.status_code == 200
    sums, spent = page.context["sums"], page.context["spent"]
    assert (page.context["money"].balance, page.context["available"]) == (7 * USD, 6_500_000_000)
    assert (sums.requests, sums.failures, sums.cost_nanos, sums.tokens) == (10, 1, 3 * USD, 55)
    assert (spent.day, spent.month + spent.last_month) == (2 * USD, 3 * USD)
    words = text(page)
    for said in (
        "$7.00",
        f"{usd_short(USD // 2)} held by requests under way",
        "90%",
        "300 ms",
        "1 failed",
        "20 in, 5 cached, 30 out",
    ):
        assert said in words, said
    assert [row[:2] for row in page.context["top_models"]] == [("m-1", 2 * USD), ("m-2", USD)]
    assert page.context["top_keys"] == [
        ("Server", 2 * USD, reverse("console:key", args=[team.key.pk])),
        ("Notebook", USD, reverse("console:key", args=[team.carols.pk])),
    ]
    assert "Bob's" not in words


def test_a_plain_member_sees_the_balance_and_their_own_usage(team: Team) -> None:
    team.used(team.key, 2 * USD, model="secret-model")
    team.used(team.carols, USD)

    page = team.client(team.carol).get(URL)

    assert page.context["money"].balance == 7 * USD
    assert page.context["sums"].cost_nanos == page.context["spent"].day == USD
    assert [row[0] for row in page.context["top_keys"]] == ["Notebook"]
    assert "secret-model" not in page.content.decode()
    assert reverse("console:billing") not in page.content.decode()


def test_what_waits_for_settlement_is_spent_today(team: Team) -> None:
    Hold.objects.create(
        request_id="r1",
        wallet_id=team.organization.pk,
        api_key_id=team.key.pk,
        amount_nanos=USD,
        captured=True,
        created_at=datetime.now(UTC),
    )
    Wallet.objects.filter(pk=team.organization.pk).update(held_nanos=USD)

    page = team.client(team.alice).get(URL)

    assert (page.context["spent"].day, page.context["money"].balance, page.context["money"].held) == (USD, 9 * USD, 0)
    assert "steps" not in page.context


@pytest.mark.parametrize(("asked", "days"), [("7", 7), ("30", 30), ("90", 90), ("", 30), ("month", 30), ("x", 30)])
def test_the_period_is_chosen_by_the_address(team: Team, asked: str, days: int) -> None:
    team.used(team.key, 5, day=team.today - timedelta(days=days - 1))
    team.used(team.key, 7, day=team.today - timedelta(days=days))

    page = team.client(team.alice).get(URL, {"period": asked})

    assert page.context["sums"].cost_nanos == 5
    assert len(page.context["spend_chart"].rows) == days
    assert page.content.decode().count('aria-current="true"') >= 1


def test_a_new_organization_is_told_what_to_do_first(team: Team) -> None:
    ApiKey.objects.all().delete()
    Wallet.objects.update(balance_nanos=0)
    alice = team.client(team.alice)

    page = alice.get(URL)

    steps = page.context["steps"]
    assert (steps.has_key, steps.has_money, steps.may_redeem) == (False, False, True)
    assert "http://testserver/v1" in page.content.decode()
    assert reverse("console:key-new") in page.content.decode()
    carols = team.client(team.carol).get(URL)
    assert carols.context["steps"].may_redeem is False
    assert "Ask an owner or admin" in text(carols)

    team.credit(USD)
    team.new_key("first", team.alice)
    steps = alice.get(URL).context["steps"]
    assert (steps.has_key, steps.has_money) == (True, True)
    team.used(team.key, 0, day=date(2020, 1, 1))
    page = alice.get(URL)
    assert "steps" not in page.context
    assert "No requests in these days" in text(page)


def test_it_says_when_nothing_is_left(team: Team) -> None:
    team.used(team.key, 10 * USD)

    assert "Nothing is left to spend" in text(team.client(team.alice).get(URL))


def test_a_suspended_organization_can_still_be_looked_at(team: Team) -> None:
    set_organizations_status(organizations=[team.organization], status="suspended")

    page = team.client(team.alice).get(URL)

    assert page.status_code == 200
    assert "This organization is suspended" in text(page)


def test_strangers_are_asked_to_sign_in(db: None) -> None:
    answer = Client().get(URL)

    assert answer.status_code == 302
    assert answer["location"].startswith("/accounts/login/")


def test_it_takes_few_queries_however_much_there_is(team: Team) -> None:
    for number in range(30):
        team.used(team.new_key(f"key {number}", team.alice), USD, model=f"m-{number}")
    client = team.client(team.alice)
    client.get(URL)

    with CaptureQueriesContext(connection) as queries:
        client.get(URL)

    assert len(queries) <= 20


def test_a_chart_has_the_dearest_models_by_name_and_the_others_together() -> None:
    first, last = date(2026, 5, 1), date(2026, 5, 2)
    days = [(first, f"m{n}", Totals(requests=1, cost_nanos=n)) for n in range(9)]
    days.append((last, "m1", Totals(requests=1, cost_nanos=100)))

    chart = spend_chart(days, Period(first, last))

    assert chart.series == ["m1", "m8", "m7", "m6", "m5", "Other models"]
    assert chart.rows == [(first, [1, 8, 7, 6, 5, 4 + 3 + 2]), (last, [100, 0, 0, 0, 0, 0])]
    few = spend_chart(days[1:4], Period(first, first))
    assert (few.series, few.rows) == (["m3", "m2", "m1"], [(first, [3, 2, 1])])
    assert spend_chart([], Period(first, first)).rows == [(first, [0])]


def test_requests_are_told_apart_by_how_they_ended() -> None:
    day = date(2026, 5, 1)
    days = [(day, "a", Totals(requests=5, failures=2)), (day, "b", Totals(requests=1))]

    assert request_chart(days, Period(day, day)).rows == [(day, [4, 2])]


def test_a_models_name_is_safe_in_an_address(db: None) -> None:
    day = date(2026, 5, 1)

    [(_name, _nanos, href)] = top_models([(day, "a&b=c d", Totals(requests=1, cost_nanos=1))])

    assert href.endswith("?model=a%26b%3Dc+d")


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (112, 100, "12% more than in the 30 days before"),
        (50, 100, "50% less than in the 30 days before"),
        (100, 100, "as much as in the 30 days before"),
        (2_000, 100, "20 times the 30 days before"),
        (5, 0, "none in the 30 days before"),
    ],
)
def test_amounts_are_compared_in_words(now: int, before: int, said: str) -> None:
    assert compared(now, before, 30) == said


def test_months_of_the_choice_of_periods() -> None:
    today = date(2026, 3, 31)

    assert chosen("month", today).period == Period(date(2026, 3, 1), today)
    assert chosen("last-month", today).period == Period(date(2026, 2, 1), date(2026, 2, 28))
