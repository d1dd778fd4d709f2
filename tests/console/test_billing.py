"""Billing: money, codes, spending, budgets, ledger, statements; for owners and admins, of their own organization."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Membership, Organization
from billing.models import Budget, DayTotal, LedgerEntry, RedemptionBatch, RedemptionCode, Wallet
from billing.redemption import codes_of, create_batch
from billing.services import save_budget
from tests.console.test_overview import USD, Team, text

URL = "/console/billing/"
REDEEM = f"{URL}redeem/"


@pytest.fixture
def team(db: None) -> Team:
    cache.clear()
    return Team()


@pytest.fixture
def alice(team: Team) -> Client:
    return team.client(team.alice)


def statement_url(month: str) -> str:
    return f"{URL}statements/{month}/"


def this_month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"


def a_code(nanos: int = 5 * USD) -> str:
    [row] = codes_of(create_batch(name="Spring", amount_nanos=nanos, count=1))
    return str(row.code)


def test_it_shows_where_the_money_went(team: Team, alice: Client) -> None:
    team.used(team.key, 2 * USD + 1, requests=3)
    team.used(team.carols, USD, model="m-2")
    team.used(team.bobs, 9 * USD, model="bobs-model")

    page = alice.get(URL)

    assert page.status_code == 200
    context = page.context
    assert context["money"].balance == 7 * USD - 1
    assert [(row.model, row.totals.cost_nanos) for row in context["by_model"]] == [("m-1", 2 * USD + 1), ("m-2", USD)]
    assert [(name, row.totals.requests) for name, _href, row in context["by_key"]] == [("Server", 3), ("Notebook", 1)]
    assert [(row.email, row.totals.cost_nanos) for row in context["by_member"]] == [
        ("alice@example.com", 2 * USD + 1),
        ("carol@example.com", USD),
    ]
    lines = context["ledger"]
    assert [(line.entry.kind if line.entry else "usage", line.amount_nanos, line.balance_nanos) for line in lines] == [
        ("usage", -3 * USD - 1, 7 * USD - 1),
        ("credit", 10 * USD, 10 * USD),
    ]
    words = text(page)
    assert "$6.999999999" in words and "Invoice" in words and "$2.000000001" in words
    assert "bobs-model" not in words and "bob@example.com" not in words


def test_the_months_end_where_the_balance_is(team: Team, alice: Client) -> None:
    team.used(team.key, 2 * USD)

    [line, *_] = alice.get(URL).context["months"]

    assert (line.moved_nanos, line.usage_nanos, line.closing_nanos) == (10 * USD, 2 * USD, 8 * USD)
    assert statement_url(this_month()) in alice.get(URL).content.decode()


def test_budgets_show_what_is_left_in_their_window(team: Team, alice: Client) -> None:
    today = datetime.now(UTC).date()
    other = Budget(organization=team.bob.organizations.get(), limit_nanos=77 * USD)
    save_budget(budget=other)
    for budget, start in (
        (Budget(api_key=team.key, limit_nanos=4 * USD, window="day"), today),
        (Budget(user=team.carol, limit_nanos=2 * USD, window="month"), date(2020, 1, 1)),
        (Budget(limit_nanos=100 * USD), None),
    ):
        budget.organization = team.organization
        save_budget(budget=budget)
        Budget.objects.filter(pk=budget.pk).update(window_start=start, spent_nanos=USD, held_nanos=USD)

    page = alice.get(URL)

    rows = [
        (row.name, str(window), row.state.remaining, row.state.used_percent) for row, window in page.context["budgets"]
    ]
    assert rows == [
        ("", "in all", 98 * USD, 2),
        ("carol@example.com", "a month", USD, 50),
        ("Server", "a day", 2 * USD, 50),
    ]
    assert "The whole organization" in text(page)
    assert "$77.00" not in text(page)


def test_a_code_becomes_money(team: Team, alice: Client) -> None:
    code = a_code()

    answer = alice.post(REDEEM, {"code": code.lower()}, follow=True)

    assert answer.redirect_chain == [(URL, 302)]
    assert "$5.00 was added to the balance." in text(answer)
    assert Wallet.objects.get(pk=team.organization.pk).balance_nanos == 15 * USD
    row = RedemptionCode.objects.get()
    assert (row.claimed_by, row.claimed_by_user) == (team.organization, team.alice)
    assert "alice@example.com" in text(answer) and "Redemption code" in text(answer)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"claimed_at": datetime(2026, 1, 1, tzinfo=UTC)}, "This code has been used already."),
        ({"disabled": True}, "This code is no longer valid."),
        ({"expires_at": datetime(2026, 1, 1, tzinfo=UTC)}, "This code has expired."),
        ({}, "There is no such code."),
    ],
)
def test_a_code_that_does_not_work_is_explained_beside_the_field(
    team: Team, alice: Client, change: dict[str, Any], said: str
) -> None:
    code = a_code()
    model = RedemptionCode if "claimed_at" in change else RedemptionBatch
    if change:
        model.objects.update(**change)
    else:
        code = "CR-0000-0000-0000-0000"

    answer = alice.post(REDEEM, {"code": code})

    assert answer.status_code == 422
    assert said in text(answer)
    assert code in answer.content.decode()
    assert f'href="{URL}?period=7#spending"' in answer.content.decode()
    assert Wallet.objects.get(pk=team.organization.pk).balance_nanos == 10 * USD
    assert not LedgerEntry.objects.filter(kind="redemption").exists()


def test_guessing_ends_after_ten(team: Team, alice: Client) -> None:
    code = a_code()
    for _ in range(10):
        alice.post(REDEEM, {"code": "CR-0000-0000-0000-0000"})

    answer = alice.post(REDEEM, {"code": code})

    assert "Too many wrong codes" in text(answer)
    assert RedemptionCode.objects.get().claimed_at is None


def test_nothing_typed_is_no_code(team: Team, alice: Client) -> None:
    answer = alice.post(REDEEM, {"code": " "})

    assert answer.status_code == 422
    assert "This field is required." in text(answer)


def test_a_plain_member_sees_none_of_it_and_redeems_nothing(team: Team) -> None:
    carol = team.client(team.carol)
    code = a_code()

    answers = [
        carol.get(URL).status_code,
        carol.get(statement_url(this_month())).status_code,
        carol.post(REDEEM, {"code": code}).status_code,
    ]

    assert answers == [403, 403, 403]
    assert RedemptionCode.objects.get().claimed_at is None
    assert Wallet.objects.get(pk=team.organization.pk).balance_nanos == 10 * USD


def test_an_admin_may(team: Team) -> None:
    Membership.objects.filter(user=team.carol, organization=team.organization).update(role="admin")
    carol = team.client(team.carol)

    assert carol.get(URL).status_code == 200
    assert carol.post(REDEEM, {"code": a_code()}).status_code == 302
    assert Wallet.objects.get(pk=team.organization.pk).balance_nanos == 15 * USD


def test_strangers_are_asked_to_sign_in(db: None) -> None:
    for url in (URL, statement_url(this_month())):
        assert Client().get(url)["location"].startswith("/accounts/login/")


def test_redeeming_needs_a_post_with_a_token(team: Team) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(team.alice)
    code = a_code()

    assert client.get(REDEEM).status_code == 405
    assert client.post(REDEEM, {"code": code}).status_code == 403
    assert RedemptionCode.objects.get().claimed_at is None


def test_a_statement_adds_up_on_paper(team: Team, alice: Client) -> None:
    Organization.objects.update(created_at=datetime(2026, 1, 5, tzinfo=UTC))
    LedgerEntry.objects.create(
        wallet_id=team.organization.pk,
        kind="credit",
        amount_nanos=50 * USD,
        idempotency_key="feb",
        note="Invoice 7",
        created_at=datetime(2026, 2, 3, tzinfo=UTC),
    )
    team.used(team.key, 3 * USD, day=date(2026, 1, 31), settled=False)
    team.used(team.key, 2 * USD, day=date(2026, 2, 28), settled=False, requests=1_234)
    team.used(team.bobs, 9 * USD, day=date(2026, 2, 28), settled=False, model="bobs-model")

    page = alice.get(statement_url("2026-02"))

    paper = page.context["statement"]
    assert (paper.opening_nanos, paper.closing_nanos, paper.finished) == (-3 * USD, 45 * USD, True)
    words = text(page)
    for said in ("Statement of February 2026", "-$3.00", "+$50.00", "Invoice 7", "-$2.00", "$45.00", "1,234 requests"):
        assert said in words, said
    assert "bobs-model" not in words and "not finished" not in words
    assert [page.context["earlier"], page.context["later"]] == [date(2026, 1, 1), date(2026, 3, 1)]
    assert "data-print" in page.content.decode()


def test_the_running_month_says_that_it_is_not_finished(team: Team, alice: Client) -> None:
    page = alice.get(statement_url(this_month()))

    assert "not finished" in text(page) and "Balance now" in text(page)
    assert page.context["statement"].closing_nanos == 10 * USD
    assert page.context["later"] is None


@pytest.mark.parametrize("month", ["2020-01", "2999-12", "2026-13", "2026-00", "2026-1", "0000-01", "x"])
def test_months_that_are_not_there(team: Team, alice: Client, month: str) -> None:
    Organization.objects.update(created_at=datetime(2026, 1, 5, tzinfo=UTC))

    assert alice.get(statement_url(month)).status_code == 404


def test_a_statement_is_of_the_current_organization(team: Team) -> None:
    """Its address names a month only: whoever looks, sees their own."""
    team.used(team.key, 2 * USD)
    bob = Client()
    bob.force_login(team.bob)

    page = bob.get(statement_url(this_month()))

    assert (page.context["statement"].closing_nanos, page.context["statement"].usage.requests) == (0, 0)


def test_few_queries_however_much_there_is(team: Team, alice: Client) -> None:
    for number in range(30):
        key = team.new_key(f"key {number}", team.alice)
        team.used(key, USD, model=f"m-{number}", day=date(2026, 1 + number % 10, 1 + number % 28))
        save_budget(budget=Budget(organization=team.organization, api_key=key, limit_nanos=USD))
    Organization.objects.update(created_at=datetime(2026, 1, 5, tzinfo=UTC))
    assert DayTotal.objects.count() == 30

    for url in (f"{URL}?period=90", statement_url("2026-05")):
        alice.get(url)
        with CaptureQueriesContext(connection) as queries:
            assert alice.get(url).status_code == 200
        assert len(queries) <= 20, url


def test_its_pages_are_found_by_name() -> None:
    assert reverse("console:billing") == URL
    assert reverse("console:statement", args=[date(2026, 5, 1)]) == statement_url("2026-05")
