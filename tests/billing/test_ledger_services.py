"""What people move: credits, debits, credit limits, prices, budgets. Once per key, and checked first."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.changes import current_version
from accounts.models import ConfigChange, Organization, User
from accounts.services import create_api_key, create_user
from billing.models import Budget, LedgerEntry, Price, Wallet
from billing.reconciliation import reconcile
from billing.selectors import current_prices, prices
from billing.services import (
    add_entry,
    adjust,
    append_price,
    delete_budget,
    save_budget,
    set_credit_limit,
    wallet_of,
)
from costrouter.lib.money import MAX_NANOS

pytestmark = pytest.mark.django_db


@pytest.fixture
def wallet() -> Wallet:
    return wallet_of(organization=Organization.objects.create(name="Acme"))


@pytest.fixture
def operator() -> User:
    return User.objects.create(email="operator@example.com")


def state(wallet: Wallet) -> tuple[int, int, int]:
    """(balance, held, credit limit)"""
    return Wallet.objects.values_list("balance_nanos", "held_nanos", "credit_limit_nanos").get(pk=wallet.pk)


def entries() -> list[tuple[str, int, int, str]]:
    rows = LedgerEntry.objects.order_by("id")
    return list(rows.values_list("kind", "amount_nanos", "limit_change_nanos", "note"))


def test_an_organization_has_one_wallet(wallet: Wallet):
    again = wallet_of(organization=wallet.organization)

    assert again == wallet
    assert state(wallet) == (0, 0, 0)
    assert Wallet.objects.count() == 1


def test_credits_and_debits_are_entries_and_balance(wallet: Wallet, operator: User):
    assert adjust(wallet=wallet, amount_nanos=5, reason=" paid ", actor=operator, idempotency_key="a")
    assert adjust(wallet=wallet, amount_nanos=-12, reason="mistake", actor=operator, idempotency_key="b")

    assert entries() == [("credit", 5, 0, "paid"), ("debit", -12, 0, "mistake")]
    assert set(LedgerEntry.objects.values_list("actor_id", flat=True)) == {operator.pk}
    assert state(wallet) == (-7, 0, 0)
    assert reconcile()["breaches"] == []


def test_a_key_moves_money_once_whatever_is_asked_for_the_second_time(wallet: Wallet, operator: User):
    other = wallet_of(organization=Organization.objects.create(name="Other"))
    assert add_entry(wallet=wallet, kind="credit", amount_nanos=5, idempotency_key="a")

    again = [
        add_entry(wallet=wallet, kind="credit", amount_nanos=5, idempotency_key="a"),
        add_entry(wallet=wallet, kind="debit", amount_nanos=-50, idempotency_key="a"),
        add_entry(wallet=other, kind="credit", amount_nanos=5, idempotency_key="a"),
        adjust(wallet=wallet, amount_nanos=9, reason="x", actor=operator, idempotency_key="a"),
        set_credit_limit(wallet=wallet, limit_nanos=9, reason="x", actor=operator, idempotency_key="a"),
    ]

    assert again == [False] * 5
    assert (state(wallet), state(other)) == ((5, 0, 0), (0, 0, 0))
    assert entries() == [("credit", 5, 0, "")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amount_nanos": 0}, "zero"),
        ({"reason": "  "}, "reason"),
        ({"amount_nanos": MAX_NANOS + 1}, "more than"),
        ({"amount_nanos": -MAX_NANOS - 1}, "more than"),
    ],
)
def test_an_adjustment_that_is_refused_moves_nothing(wallet: Wallet, operator: User, options, message: str):
    given = {"amount_nanos": 5, "reason": "paid", **options}

    with pytest.raises(ValidationError, match=message):
        adjust(wallet=wallet, actor=operator, idempotency_key="a", **given)

    assert (state(wallet), entries()) == ((0, 0, 0), [])


def test_a_wallet_holds_no_more_than_its_column(wallet: Wallet):
    for number in range(2):
        add_entry(wallet=wallet, kind="credit", amount_nanos=MAX_NANOS, idempotency_key=f"{number}")

    with pytest.raises(ValidationError, match="more than"):
        add_entry(wallet=wallet, kind="credit", amount_nanos=1, idempotency_key="last")

    assert state(wallet) == (2 * MAX_NANOS, 0, 0)
    assert LedgerEntry.objects.count() == 2


def test_the_credit_limit_is_in_the_ledger_at_an_amount_of_nothing(wallet: Wallet, operator: User):
    for number, limit in enumerate((100, 100, 30)):
        changed = set_credit_limit(
            wallet=wallet, limit_nanos=limit, actor=operator, reason="asked", idempotency_key=f"{number}"
        )
        assert changed == (number != 1)

    assert entries() == [("credit_limit", 0, 100, "asked"), ("credit_limit", 0, -70, "asked")]
    assert state(wallet) == (0, 0, 30)
    assert reconcile()["breaches"] == []


@pytest.mark.parametrize("options", [{"limit_nanos": -1}, {"limit_nanos": MAX_NANOS + 1}, {"reason": " "}])
def test_a_credit_limit_that_is_refused_stays(wallet: Wallet, operator: User, options):
    given = {"limit_nanos": 5, "reason": "asked", **options}

    with pytest.raises(ValidationError):
        set_credit_limit(wallet=wallet, actor=operator, idempotency_key="a", **given)

    assert (state(wallet), entries()) == ((0, 0, 0), [])


def test_a_price_is_appended_and_the_earlier_one_stays():
    first = append_price(model_name="m", units={"input": "0.0375", "output": Decimal("1e-5")})
    version = current_version()
    later = timezone.now() + timedelta(hours=1)

    second = append_price(model_name="m", units={"input": 3}, effective_from=later, note="dearer")

    assert first.units == {"input": "0.0375", "output": "0.00001"}
    assert Price.objects.get(pk=first.pk).units == first.units
    assert current_prices(model_names=["m"]) == {"m": first}
    assert [info.id for info in prices(model_names=["m"])["m"]] == [second.pk, first.pk]
    assert current_version() == version + 1
    assert ConfigChange.objects.filter(kind="price", object_id="m").count() == 2


@pytest.mark.parametrize(
    "options",
    [
        {"units": {}},
        {"units": {"tokens": "1"}},
        {"units": {"input": "-0.1"}},
        {"units": {"input": "NaN"}},
        {"units": {"input": "Infinity"}},
        {"units": {"input": "cheap"}},
        {"units": {"input": "1000000.000001"}},
        {"units": {"input": "0.0000000000000000001"}},
        {"units": {"input": "1"}, "long_context_units": {"output": "-1"}, "long_context_above": 1},
        {"units": {"input": "1"}, "long_context_above": -1},
        {"units": {"input": "1"}, "effective_from": timezone.now() - timedelta(days=1)},
    ],
)
def test_a_price_that_is_none_is_refused(options):
    with pytest.raises(ValidationError):
        append_price(model_name="m", **options)

    assert not Price.objects.exists()
    assert current_version() == 0


def test_budgets_belong_to_one_organization(wallet: Wallet):
    alice, bob = (create_user(email=f"{name}@example.com") for name in ("alice", "bob"))
    hers, his = alice.organizations.get(), bob.organizations.get()
    his_key, _ = create_api_key(organization=his, user=bob, name="his")
    her_key, _ = create_api_key(organization=hers, user=alice, name="hers")
    refused = [
        Budget(organization=hers, limit_nanos=-1),
        Budget(organization=hers, limit_nanos=1, api_key=his_key),
        Budget(organization=hers, limit_nanos=1, user=bob),
        Budget(organization=hers, limit_nanos=1, user=alice, api_key=her_key),
        Budget(organization=hers, limit_nanos=1, window="year"),
        Budget(organization=hers, limit_nanos=2**63),
    ]
    version = current_version()

    for budget in refused:
        with pytest.raises(ValidationError):
            save_budget(budget=budget)

    assert not Budget.objects.exists()
    assert current_version() == version


def test_saving_and_deleting_a_budget_is_noticed(wallet: Wallet):
    version = current_version()
    budget = save_budget(budget=Budget(organization=wallet.organization, limit_nanos=5, window="month"))
    budget.limit_nanos = 7

    save_budget(budget=budget)
    assert Budget.objects.get().limit_nanos == 7
    delete_budget(budget=budget)

    assert not Budget.objects.exists()
    assert current_version() == version + 3
    changes = ConfigChange.objects.filter(number__gt=version).values_list("kind", "object_id")
    assert set(changes) == {("organization", str(wallet.pk))}


def test_a_budget_stays_with_its_organization(wallet: Wallet):
    """Its keys would have to notice that it is gone, and what it counts was spent by them."""
    budget = save_budget(budget=Budget(organization=wallet.organization, limit_nanos=5))
    budget.organization = create_user(email="alice@example.com").organizations.get()
    version = current_version()

    with pytest.raises(ValidationError, match="stays with its organization"):
        save_budget(budget=budget)

    assert Budget.objects.get().organization_id == wallet.pk
    assert current_version() == version
