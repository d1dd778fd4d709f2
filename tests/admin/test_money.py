"""Money through the admin: credits, limits, prices, budgets. Exact, once, and only for those who may."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from accounts.changes import current_version
from accounts.models import User
from accounts.services import create_organization
from billing.admin.record_tables import lines_table
from billing.models import Budget, LedgerEntry, Price, Wallet
from billing.services import save_budget
from tests.cast.admin import Acme, acme, operator, staff

pytestmark = pytest.mark.django_db


def adjust_url(cast: Acme) -> str:
    return f"/admin/billing/wallet/{cast.wallet.pk}/adjust/"


def adjust_form(client: Client, url: str, **given: object) -> dict[str, object]:
    """The form as a browser sends it, with the page's own hidden key."""
    once = str(client.get(url).context["form"]["once"].value())
    return {"direction": "credit", "amount": "12.000000001", "reason": "Invoice 7", "once": once, **given}


def balance(cast: Acme) -> int:
    return Wallet.objects.get(pk=cast.wallet.pk).balance_nanos


def test_a_credit_is_one_ledger_entry_however_often_the_form_is_sent() -> None:
    client = operator()
    cast = acme()
    form = adjust_form(client, adjust_url(cast))

    answers = [client.post(adjust_url(cast), form).status_code for _ in range(3)]

    entry = LedgerEntry.objects.get()
    assert answers == [302, 302, 302]
    assert balance(cast) == 12_000_000_001
    assert (entry.kind, entry.amount_nanos, entry.note) == ("credit", 12_000_000_001, "Invoice 7")
    assert entry.actor_id == User.objects.get(email="operator@example.com").pk
    assert entry.idempotency_key.startswith("operator:")


def test_a_debit_may_go_below_zero_and_a_second_page_is_a_second_entry() -> None:
    client = operator()
    cast = acme()

    for amount in ("1", "0.5"):
        client.post(adjust_url(cast), adjust_form(client, adjust_url(cast), direction="debit", amount=amount))

    assert balance(cast) == -1_500_000_000
    assert list(LedgerEntry.objects.order_by("id").values_list("kind", "amount_nanos")) == [
        ("debit", -1_000_000_000),
        ("debit", -500_000_000),
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "0"),
        ("amount", "-5"),
        ("amount", "1.0000000001"),
        ("amount", "NaN"),
        ("amount", "Infinity"),
        ("amount", "1e30"),
        ("amount", "2000000001"),
        ("amount", "five"),
        ("reason", ""),
        ("reason", "   "),
        ("direction", "sideways"),
        ("once", "usage:abc"),
    ],
)
def test_a_wrong_credit_is_a_form_error_and_moves_nothing(field: str, value: str) -> None:
    client = operator()
    cast = acme()

    answer = client.post(adjust_url(cast), adjust_form(client, adjust_url(cast), **{field: value}))

    assert answer.status_code == 200
    assert field in answer.context["form"].errors
    assert balance(cast) == 0
    assert not LedgerEntry.objects.exists()


def test_staff_who_may_only_view_wallets_move_no_money() -> None:
    cast = acme()
    client = staff("billing.view_wallet", "billing.view_ledgerentry")
    form = {"direction": "credit", "amount": "1", "reason": "mine", "once": "7e6f0d1a-66f2-4f5c-9f5e-0c9b1a1d2e3f"}

    answers = [
        client.get(adjust_url(cast)).status_code,
        client.post(adjust_url(cast), form).status_code,
        client.post(f"/admin/billing/wallet/{cast.wallet.pk}/credit-limit/", {**form, "limit": "9"}).status_code,
        client.post(f"/admin/billing/wallet/{cast.wallet.pk}/change/", {"balance_nanos": 9}).status_code,
        client.post("/admin/billing/wallet/add/", {"organization": cast.organization.pk}).status_code,
    ]

    assert answers == [403, 403, 403, 403, 403]
    assert Wallet.objects.values_list("balance_nanos", "credit_limit_nanos").get() == (0, 0)
    assert not LedgerEntry.objects.exists()
    assert client.get(f"/admin/billing/wallet/{cast.wallet.pk}/change/").status_code == 200


def test_staff_who_may_change_wallets_do_move_money() -> None:
    cast = acme()
    client = staff("billing.change_wallet")

    client.post(adjust_url(cast), adjust_form(client, adjust_url(cast)))

    assert balance(cast) == 12_000_000_001


def test_a_form_from_elsewhere_is_refused() -> None:
    cast = acme()
    form = adjust_form(operator(), adjust_url(cast))
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(email="operator@example.com"))

    assert client.post(adjust_url(cast), form).status_code == 403
    assert balance(cast) == 0


def test_the_credit_limit_is_set_with_a_reason_and_no_money_moves() -> None:
    client = operator()
    cast = acme()
    url = f"/admin/billing/wallet/{cast.wallet.pk}/credit-limit/"
    once = str(client.get(url).context["form"]["once"].value())

    client.post(url, {"limit": "500", "reason": "Pays by invoice", "once": once})
    too_much = client.post(url, {"limit": "-1", "reason": "x", "once": once})

    entry = LedgerEntry.objects.get()
    wallet = Wallet.objects.get(pk=cast.wallet.pk)
    assert (wallet.credit_limit_nanos, wallet.balance_nanos) == (500_000_000_000, 0)
    assert (entry.kind, entry.amount_nanos, entry.limit_change_nanos) == ("credit_limit", 0, 500_000_000_000)
    assert "limit" in too_much.context["form"].errors


def test_a_wallet_is_made_for_an_organization_that_has_none() -> None:
    client = operator()
    cast = acme()
    other = create_organization(name="Other", owner=cast.alice)

    made = client.post("/admin/billing/wallet/add/", {"organization": other.pk})
    again = client.post("/admin/billing/wallet/add/", {"organization": other.pk})

    assert made.status_code == 302
    assert "organization" in again.context["adminform"].form.errors
    assert Wallet.objects.get(organization=other).balance_nanos == 0


def test_a_price_is_appended_with_the_numbers_that_were_typed() -> None:
    client = operator()
    cast = acme()
    before = current_version()

    answer = client.post(
        "/admin/billing/price/add/",
        {
            "model_name": "gpt-small",
            "tier": "standard",
            "price_input": "0.10",
            "price_output": "0.4",
            "price_cache_read": "0",
            "price_searches": "0.01",
            "long_context_above": "200000",
            "long_input": "0.2",
            "note": "cut",
        },
    )

    price = Price.objects.latest("id")
    assert answer.status_code == 302
    assert price.units == {"input": "0.1", "cache_read": "0", "output": "0.4", "searches": "0.01"}
    assert (price.long_context_above, price.long_context_units) == (200_000, {"input": "0.2"})
    assert price.created_by_id == User.objects.get(email="operator@example.com").pk
    assert abs(price.effective_from - timezone.now()) < timedelta(seconds=20)
    assert Price.objects.get(pk=cast.price.pk).units == {"input": "0.15", "output": "0.6"}
    assert current_version() == before + 1


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "__all__"),
        ({"price_input": "-1"}, "price_input"),
        ({"price_input": "cheap"}, "price_input"),
        ({"price_input": "1", "model_name": "unknown"}, "model_name"),
        ({"price_input": "1", "long_input": "2"}, "long_context_above"),
        ({"price_input": "1", "long_context_above": "5"}, "long_context_above"),
        ({"price_input": "1", "effective_from_0": "2020-01-01", "effective_from_1": "00:00"}, "effective_from"),
    ],
)
def test_a_wrong_price_is_a_form_error_and_nothing_is_appended(given: dict[str, str], field: str) -> None:
    client = operator()
    acme()

    answer = client.post("/admin/billing/price/add/", {"model_name": "gpt-small", "tier": "standard", **given})

    assert answer.status_code == 200
    assert field in answer.context["adminform"].form.errors
    assert Price.objects.count() == 1


def test_a_price_can_be_copied_but_not_changed_or_deleted() -> None:
    client = operator()
    cast = acme()
    base = f"/admin/billing/price/{cast.price.pk}"

    copy = client.get(f"{base}/copy/")
    form = client.get(copy.headers["Location"]).context["adminform"].form
    answers = [
        client.post(f"{base}/change/", {}).status_code,
        client.post(f"{base}/delete/", {"post": "yes"}).status_code,
    ]

    assert (form["price_input"].value(), form["price_output"].value(), form["model_name"].value()) == (
        "0.15",
        "0.6",
        "gpt-small",
    )
    assert answers == [403, 403]
    assert Price.objects.get().units == {"input": "0.15", "output": "0.6"}


def test_the_list_of_prices_says_which_is_in_force() -> None:
    client = operator()
    cast = acme()
    now = timezone.now()
    later = Price.objects.create(model_name="gpt-small", units={"input": "1"}, effective_from=now + timedelta(days=1))
    past = Price.objects.create(model_name="gpt-small", units={"input": "2"}, effective_from=now - timedelta(days=9))

    def shown(state: str) -> set[int]:
        return {row.pk for row in client.get(f"/admin/billing/price/?state={state}").context["cl"].result_list}

    assert shown("now") == {cast.price.pk}
    assert shown("later") == {later.pk}
    assert shown("past") == {past.pk}


def test_a_budget_is_typed_in_dollars_and_what_is_spent_stays() -> None:
    client = operator()
    cast = acme()
    form = {"organization": cast.organization.pk, "api_key": cast.key.pk, "limit_nanos": "2.5", "window": "day"}

    client.post("/admin/billing/budget/add/", form)
    budget = Budget.objects.get()
    Budget.objects.filter(pk=budget.pk).update(spent_nanos=7, held_nanos=3)
    client.post(f"/admin/billing/budget/{budget.pk}/change/", {**form, "limit_nanos": "4"})

    budget.refresh_from_db()
    assert (budget.limit_nanos, budget.spent_nanos, budget.held_nanos) == (4_000_000_000, 7, 3)
    assert (
        client.get(f"/admin/billing/budget/{budget.pk}/change/").context["adminform"].form["limit_nanos"].value() == "4"
    )


def test_a_budget_stays_with_its_organization() -> None:
    client = operator()
    cast = acme()
    other = create_organization(name="Other", owner=cast.alice)
    budget = save_budget(budget=Budget(organization=cast.organization, limit_nanos=1))

    page = client.get(f"/admin/billing/budget/{budget.pk}/change/")
    form = {"organization": other.pk, "limit_nanos": "4", "window": "day"}
    client.post(f"/admin/billing/budget/{budget.pk}/change/", form)

    assert "organization" not in page.context["adminform"].form.fields
    budget.refresh_from_db()
    assert (budget.organization, budget.limit_nanos) == (cast.organization, 4_000_000_000)


def test_a_budget_of_a_strangers_key_is_a_form_error() -> None:
    client = operator()
    cast = acme()
    other = create_organization(name="Other", owner=cast.alice)

    answer = client.post(
        "/admin/billing/budget/add/",
        {"organization": other.pk, "api_key": cast.key.pk, "limit_nanos": "1", "window": "day"},
    )

    assert answer.context["adminform"].form.errors["api_key"] == ["This key belongs to another organization."]
    assert not Budget.objects.exists()


def test_amounts_are_exact_decimals() -> None:
    client = operator()
    cast = acme()

    for amount in ("0.1", "0.2", "0.000000001"):
        client.post(adjust_url(cast), adjust_form(client, adjust_url(cast), amount=amount))

    assert Decimal(balance(cast)).scaleb(-9) == Decimal("0.300000001")


def test_reasoning_with_a_price_of_its_own_shows_its_amount() -> None:
    lines = [
        {"unit": "output", "quantity": 600_000, "price": "2", "per": 1_000_000},
        {"unit": "reasoning", "quantity": 400_000, "price": "3", "per": 1_000_000},
    ]

    shown = lines_table(lines)

    assert shown.count("$1.2<") == 2


def test_a_better_image_has_a_price_of_its_own() -> None:
    client = operator()
    acme()
    form = {"model_name": "gpt-small", "price_images": "0.12"}

    assert client.post("/admin/billing/price/add/", {**form, "tier": "hd 1024x1792"}).status_code == 302
    refused = client.post("/admin/billing/price/add/", {**form, "tier": "HD!"})

    assert refused.status_code == 200
    [price] = Price.objects.exclude(tier="standard")
    assert (price.tier, price.units) == ("hd 1024x1792", {"images": "0.12"})
    assert "Hd 1024x1792" in client.get("/admin/billing/price/").content.decode()
