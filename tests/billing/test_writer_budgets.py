"""Budgets move with the wallet, all or none, in windows of UTC days, weeks and months."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.services import create_api_key, create_user
from billing import selectors
from billing.books import open_window, window_start
from billing.models import Budget
from billing.services import delete_budget, save_budget, wallet_of
from billing.sweep import sweep
from tests.cast.money import NOON, Bank, Granted, Refused, bank_fixture  # noqa: F401


def test_a_request_counts_against_its_key_its_member_and_its_organization(bank: Bank):
    alice = create_user(email="alice@example.com")
    organization = alice.organizations.get()
    key, _ = create_api_key(organization=organization, user=alice, name="one")
    other_key, _ = create_api_key(organization=organization, user=alice, name="two")
    limits = {"organization": organization, "limit_nanos": 1_000}
    of_key = save_budget(budget=Budget(api_key=key, **limits)).pk
    of_member = save_budget(budget=Budget(user=alice, **limits)).pk
    of_all = save_budget(budget=Budget(**limits)).pk
    bank.budget(1_000)
    ids = selectors.budget_ids(organization_id=organization.pk, user_id=alice.pk, api_key_id=key.pk)
    of_other = selectors.budget_ids(organization_id=organization.pk, user_id=alice.pk, api_key_id=other_key.pk)
    bank.acme = organization.pk
    wallet_of(organization=organization)
    bank.credit(10_000)

    bank.run(bank.hold("r1", 300, budget_ids=ids), bank.hold("r2", 100, budget_ids=of_other))
    bank.run(bank.capture("r1", 200, 300, ids))

    assert ids == (of_key, of_member, of_all)
    assert of_other == (of_member, of_all)
    assert [bank.spent(number) for number in ids] == [(200, 0), (200, 100), (200, 100)]
    assert bank.wallet() == (10_000, 300)
    assert bank.breaches() == []


def test_the_tightest_budget_refuses_and_neither_wallet_nor_the_others_move(bank: Bank):
    bank.credit(1_000)
    wide, tight = bank.budget(500), bank.budget(99)

    outcomes = bank.run(bank.hold("r1", 100, budget_ids=(wide, tight)), bank.hold("r2", 99, budget_ids=(wide, tight)))

    assert outcomes == [Refused(99, tight), Granted(99)]
    assert (bank.spent(wide), bank.spent(tight)) == ((0, 99), (0, 99))
    assert bank.wallet() == (1_000, 99)


def test_a_wallet_that_is_thinner_than_its_budgets_is_what_refuses(bank: Bank):
    bank.credit(50)
    number = bank.budget(500)

    assert bank.run(bank.hold("r1", 100, budget_ids=(number,))) == [Refused(50)]
    assert bank.spent(number) == (0, 0)


def test_an_eighth_is_of_the_tightest_budget(bank: Bank):
    bank.credit(1_000_000)
    number = bank.budget(800)

    assert bank.run(bank.hold("r1", 500, minimum=1, budget_ids=(number,))) == [Granted(100)]


def test_a_budget_that_is_spent_refuses_until_it_is_raised(bank: Bank):
    bank.credit(1_000)
    number = bank.budget(100)
    bank.run(bank.hold("r1", 100, budget_ids=(number,)))
    bank.run(bank.capture("r1", 120, 100, (number,)))

    assert bank.run(bank.hold("r2", 1, budget_ids=(number,))) == [Refused(0, number)]
    Budget.objects.filter(pk=number).update(limit_nanos=121)
    assert bank.run(bank.hold("r2", 1, budget_ids=(number,))) == [Granted(1)]
    assert bank.spent(number) == (120, 1)


def test_what_costs_nothing_passes_a_spent_budget(bank: Bank):
    number = bank.budget(0)

    assert bank.run(bank.hold("r1", 0, budget_ids=(number,))) == [Granted(0)]


@pytest.mark.parametrize(
    ("window", "later", "start"),
    [
        ("day", datetime(2026, 5, 15, 0, 0, tzinfo=UTC), date(2026, 5, 15)),
        ("week", datetime(2026, 5, 18, 0, 0, tzinfo=UTC), date(2026, 5, 18)),
        ("month", datetime(2026, 6, 1, 0, 0, tzinfo=UTC), date(2026, 6, 1)),
    ],
)
def test_a_window_starts_anew_with_what_is_still_held(bank: Bank, window, later, start):
    bank.credit(1_000)
    number = bank.budget(100, window=window)
    last = later - timedelta(microseconds=1)
    bank.run(bank.hold("r1", 60, budget_ids=(number,)), bank.hold("r2", 40, budget_ids=(number,)), now=last)
    bank.run(bank.capture("r1", 60, 60, (number,)), now=last)
    assert bank.run(bank.hold("r3", 1, budget_ids=(number,)), now=last) == [Refused(0, number)]

    outcomes = bank.run(bank.hold("r3", 61, budget_ids=(number,)), bank.hold("r4", 60, budget_ids=(number,)), now=later)

    assert outcomes == [Refused(60, number), Granted(60)]
    assert bank.spent(number) == (0, 100)
    assert Budget.objects.get().window_start == start
    bank.run(bank.capture("r2", 10, 40, (number,)), now=later)
    assert bank.spent(number) == (10, 60)
    assert bank.breaches() == []


def test_a_week_is_one_window_from_monday_to_sunday(bank: Bank):
    bank.credit(1_000)
    number = bank.budget(100, window="week")
    monday, sunday = datetime(2026, 5, 11, tzinfo=UTC), datetime(2026, 5, 17, 23, 59, 59, tzinfo=UTC)

    bank.run(bank.hold("r1", 60, budget_ids=(number,)), now=monday)
    bank.run(bank.capture("r1", 60, 60, (number,)), now=NOON)

    assert bank.run(bank.hold("r2", 41, budget_ids=(number,)), now=sunday) == [Refused(40, number)]
    assert bank.run(bank.hold("r3", 40, budget_ids=(number,)), now=sunday) == [Granted(40)]
    assert bank.spent(number) == (60, 40)
    assert Budget.objects.get().window_start == date(2026, 5, 11)


@given(day=st.dates(date(1990, 1, 1), date(2190, 1, 1)), later=st.integers(0, 400))
def test_two_days_share_a_window_just_where_the_calendar_says_so(day: date, later: int):
    other = day + timedelta(days=later)

    def shared(window: str) -> bool:
        return window_start(window, day) == window_start(window, other)

    assert shared("day") == (later == 0)
    assert shared("week") == (day.isocalendar()[:2] == other.isocalendar()[:2])
    assert shared("month") == ((day.year, day.month) == (other.year, other.month))
    assert window_start("total", day) is None


@given(
    window=st.sampled_from(["day", "week", "month"]),
    day=st.dates(date(1990, 1, 1), date(2190, 1, 1)),
    opened=st.integers(-400, 400),
)
def test_an_open_window_never_ends_before_its_day_nor_starts_later_than_a_clock_may_be_ahead(window, day, opened):
    start = window_start(window, day + timedelta(days=opened))

    found = open_window(window, start, day)

    assert found in (start, window_start(window, day))
    assert window_start(window, day) <= found <= day + timedelta(days=1)
    assert open_window(window, found, day) == found


def test_a_total_never_starts_anew(bank: Bank):
    bank.credit(1_000)
    number = bank.budget(100)
    bank.run(bank.hold("r1", 100, budget_ids=(number,)))
    bank.run(bank.capture("r1", 100, 100, (number,)))

    later = NOON + timedelta(days=4_000)

    assert bank.run(bank.hold("r2", 1, budget_ids=(number,)), now=later) == [Refused(0, number)]
    assert Budget.objects.get().window_start is None


@pytest.mark.parametrize("window", ["day", "week", "month"])
def test_a_process_whose_clock_is_behind_does_not_open_the_last_window_again(bank: Bank, window):
    """Around midnight two machines take turns; each turn would forget what was spent. 1 June 2026 is a Monday."""
    bank.credit(1_000)
    number = bank.budget(100, window=window)
    ahead = datetime(2026, 6, 1, tzinfo=UTC)
    behind = ahead - timedelta(milliseconds=1)
    bank.run(bank.hold("r1", 100, budget_ids=(number,)), now=ahead)
    bank.run(bank.capture("r1", 100, 100, (number,)), now=ahead)

    assert bank.run(bank.hold("r2", 1, budget_ids=(number,)), now=behind) == [Refused(0, number)]
    assert bank.spent(number) == (100, 0)
    assert Budget.objects.get().window_start == ahead.date()


def test_a_clock_that_was_years_ahead_does_not_close_a_budget_for_years(bank: Bank):
    bank.credit(1_000)
    number = bank.budget(100, window="day")
    bank.run(bank.hold("r1", 100, budget_ids=(number,)), now=NOON + timedelta(days=900))
    bank.run(bank.capture("r1", 100, 100, (number,)), now=NOON + timedelta(days=900))

    assert bank.run(bank.hold("r2", 100, budget_ids=(number,))) == [Granted(100)]


def test_a_budget_deleted_under_a_hold_is_simply_gone(bank: Bank):
    bank.credit(1_000)
    gone, stays = bank.budget(500), bank.budget(500)
    bank.run(bank.hold("r1", 100, budget_ids=(gone, stays)), bank.hold("r2", 50, budget_ids=(gone, stays)))
    delete_budget(budget=Budget.objects.get(pk=gone))

    bank.run(bank.capture("r1", 80, 100, (gone, stays)), bank.hold("r3", 10, budget_ids=(gone, stays)))
    bank.expire_lease()
    sweep()

    assert bank.spent(stays) == (80, 0)
    assert bank.wallet() == (1_000, 80)
    assert bank.breaches() == []


def test_a_budget_made_under_a_hold_does_not_see_it(bank: Bank):
    bank.credit(1_000)
    bank.run(bank.hold("r1", 100))
    number = bank.budget(500)

    bank.run(bank.capture("r1", 80, 100, ()))

    assert bank.spent(number) == (0, 0)
    assert bank.breaches() == []


def test_an_edited_limit_keeps_what_the_writer_moved_meanwhile(bank: Bank):
    bank.credit(1_000)
    number = bank.budget(500)
    loaded = Budget.objects.get(pk=number)
    bank.run(bank.hold("r1", 100, budget_ids=(number,)), bank.hold("r2", 50, budget_ids=(number,)))
    bank.run(bank.capture("r1", 90, 100, (number,)))
    loaded.limit_nanos = 700

    save_budget(budget=loaded)

    assert bank.spent(number) == (90, 50)
    assert Budget.objects.get().limit_nanos == 700


@pytest.mark.parametrize("granted", [100, None])
def test_a_capture_after_the_sweep_is_spent_under_the_budgets_it_was_held_under(bank: Bank, granted):
    bank.credit(1_000)
    number = bank.budget(500)
    bank.run(bank.hold("r1", 100, budget_ids=(number,)))
    bank.expire_lease()
    assert sweep() == 1
    assert bank.spent(number) == (0, 0)

    bank.run(bank.capture("r1", 80, granted, (number,)))

    assert bank.spent(number) == (80, 0)
    assert bank.wallet() == (1_000, 80)
    assert bank.records() == {"r1": ("ok", 80, 80)}
    assert bank.breaches() == []
