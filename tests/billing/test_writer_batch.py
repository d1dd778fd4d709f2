"""The writer's transaction on a real connection: what is granted, what a capture moves, what a replay does not."""

from __future__ import annotations

import pytest

from billing.books import grant
from billing.models import Hold, LedgerEntry, UsageRecord, Wallet
from billing.settlement import settle
from tests.cast.money import Bank, Granted, Refused, bank_fixture, execute, new_batch  # noqa: F401


@pytest.mark.parametrize(
    ("available", "minimum", "want", "granted"),
    [
        (800, 100, 100, 100),  # exactly an eighth
        (799, 50, 100, 99),  # one nano short of it: an eighth, rounded down
        (799, 99, 100, 99),
        (799, 100, 100, 100),  # a request that names its need gets it
        (100, 100, 100, 100),  # down to the last nano
        (99, 100, 100, None),
        (100, 60, 1_000, 60),  # never below the minimum
        (1_000, 60, 1_000, 125),  # the eighth
        (0, 0, 0, 0),
        (0, 1, 1, None),
        (-1, 0, 1, None),
        (4 * 10**18, 1, 4 * 10**18, 5 * 10**17),
    ],
)
def test_what_is_granted(available, minimum, want, granted):
    assert grant(available=available, minimum=minimum, want=want) == granted


def test_a_hold_moves_held_and_nothing_else(bank: Bank):
    bank.credit(1_000)

    outcomes = bank.run(bank.hold("r1", 100, budget_ids=()))

    assert outcomes == [Granted(100)]
    assert bank.wallet() == (1_000, 100)
    assert bank.holds() == {"r1": (100, False)}
    assert bank.records() == {}
    assert bank.breaches() == []


def test_the_hold_row_says_who_and_what(bank: Bank):
    bank.credit(1_000)

    bank.run(bank.hold("r1", 100, api_key_id=7, user_id=8, model="gpt", group="vip", endpoint="chat"))

    row = Hold.objects.get()
    assert (row.wallet_id, row.api_key_id, row.user_id) == (bank.acme, 7, 8)
    assert (row.model, row.group, row.endpoint, row.lease_id) == ("gpt", "vip", "chat", bank.lease)
    assert (row.budget_ids, row.deadline) == ([], None)
    assert row.created_at.isoformat() == "2026-05-14T12:00:00+00:00"


def test_a_refused_hold_leaves_no_trace(bank: Bank):
    bank.credit(99)

    outcomes = bank.run(bank.hold("r1", 1_000, minimum=100))

    assert outcomes == [Refused(99)]
    assert bank.wallet() == (99, 0)
    assert bank.holds() == {}


def test_a_thin_wallet_grants_an_eighth_or_the_minimum(bank: Bank):
    bank.credit(8_000)

    outcomes = bank.run(bank.hold("r1", 5_000, minimum=10), bank.hold("r2", 5_000, minimum=2_000))

    assert outcomes == [Granted(1_000), Granted(2_000)]
    assert bank.wallet() == (8_000, 3_000)


def test_holds_of_a_batch_are_decided_in_the_order_they_came(bank: Bank):
    bank.credit(100)

    outcomes = bank.run(bank.hold("z", 60), bank.hold("a", 60), bank.hold("m", 40), bank.hold("b", 1))

    assert outcomes == [Granted(60), Refused(40), Granted(40), Refused(0)]
    assert bank.holds() == {"m": (40, False), "z": (60, False)}
    assert bank.wallet() == (100, 100)


def test_credit_is_available_and_no_nano_more(bank: Bank):
    number = bank.organization(10, credit=90)

    outcomes = bank.run(bank.hold("r1", 101, organization_id=number), bank.hold("r2", 100, organization_id=number))

    assert outcomes == [Refused(100), Granted(100)]
    assert bank.wallet(number) == (10, 100)


def test_below_zero_shows_nothing_available(bank: Bank):
    bank.credit(-500)

    assert bank.run(bank.hold("r1", 1)) == [Refused(0)]
    assert bank.run(bank.hold("r2", 1, minimum=0)) == [Refused(0)]
    assert bank.wallet() == (-500, 0)


def test_what_costs_nothing_is_granted_to_the_broke_and_to_those_without_a_wallet(bank: Bank):
    bank.credit(-500)
    Wallet.objects.filter(pk=(other := bank.organization(0))).delete()

    outcomes = bank.run(bank.hold("r1", 0), bank.hold("r2", 0, organization_id=other))
    bank.run(bank.capture("r1", 0, 0), bank.capture("r2", 0, 0, organization_id=other))

    assert outcomes == [Granted(0), Granted(0)]
    assert bank.wallet() == (-500, 0)
    assert settle() == 2
    assert bank.holds() == {}
    assert not Wallet.objects.filter(pk=other).exists()
    assert LedgerEntry.objects.filter(kind="usage").count() == 0
    assert bank.breaches() == []


def test_without_a_wallet_nothing_is_granted(bank: Bank):
    Wallet.objects.filter(pk=(other := bank.organization(0))).delete()

    assert bank.run(bank.hold("r1", 1, organization_id=other)) == [Refused(0)]
    assert bank.holds() == {}


def test_a_charge_without_a_wallet_makes_one(bank: Bank):
    """A free request that the upstream charged for after all: the charge must not vanish between two tables."""
    Wallet.objects.filter(pk=(other := bank.organization(0))).delete()
    bank.run(bank.hold("r1", 0, organization_id=other))

    bank.run(bank.capture("r1", 7, 0, organization_id=other))

    assert bank.wallet(other) == (0, 7)
    assert settle() == 1
    assert bank.wallet(other) == (-7, 0)
    assert bank.records() == {"r1": ("ok", 7, 7)}
    assert bank.breaches() == []


def test_two_organizations_in_one_batch_do_not_touch_each_other(bank: Bank):
    bank.credit(100)
    other = bank.organization(50)

    outcomes = bank.run(bank.hold("r1", 60, organization_id=other), bank.hold("r2", 100), bank.hold("r3", 1))

    assert outcomes == [Refused(50), Granted(100), Refused(0)]
    assert bank.wallet() == (100, 100)
    assert bank.wallet(other) == (50, 0)


def test_a_capture_shrinks_the_hold_and_frees_the_rest(bank: Bank):
    bank.credit(1_000)
    bank.run(bank.hold("r1", 100))

    bank.run(bank.capture("r1", 30, 100))

    assert bank.holds() == {"r1": (30, True)}
    assert bank.records() == {"r1": ("ok", 30, 0)}
    assert bank.wallet() == (1_000, 30)
    assert bank.breaches() == []


def test_captures_free_money_for_holds_of_the_same_batch(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("r1", 100))

    outcomes = bank.run(bank.hold("r2", 71), bank.hold("r3", 70), bank.capture("r1", 30, 100))

    assert outcomes == [Refused(70), Granted(70), None]
    assert bank.wallet() == (100, 100)
    assert bank.holds() == {"r1": (30, True), "r3": (70, False)}
    assert bank.breaches() == []


def test_an_overrun_is_charged_and_takes_from_the_holds_of_its_batch(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("r1", 60))

    outcomes = bank.run(bank.capture("r1", 170, 60), bank.hold("r2", 1))

    assert outcomes == [None, Refused(0)]
    assert bank.wallet() == (100, 170)
    assert bank.records() == {"r1": ("ok", 170, 110)}
    assert settle() == 1
    assert bank.wallet() == (-70, 0)
    assert bank.breaches() == []


def test_a_record_keeps_every_column(bank: Bank):
    bank.credit(1_000_000)
    bank.run(bank.hold("r1", 100))
    fields = {
        "user_id": 5,
        "api_key_id": 6,
        "group": "vip",
        "channel_id": 9,
        "channel": 'Ünïcode "quoted" \\u0000',
        "attempts": [{"channel": 9, "ok": True, "ms": 1.5, "note": None}],
        "http_status": 200,
        "streamed": True,
        "estimated": True,
        "units": {"input": 10**9, "output": 0},
        "lines": [{"unit": "input", "quantity": 10**9, "price": "0.0375", "per": 1_000_000}],
        "upstream_cost_nanos": 2**53 + 1,
        "price_id": 3,
        "rate": "1.2345",
        "first_byte_ms": 12,
        "duration_ms": 34,
        "client_ip": "2001:db8::1",
        "client_request_id": "abc-1",
    }

    bank.run(bank.capture("r1", 99, 100, **fields))

    row = UsageRecord.objects.get()
    expected = {**fields, "organization_id": bank.acme, "cost_nanos": 99, "held_nanos": 100, "overrun_nanos": 0}
    found = {name: getattr(row, name) for name in expected}
    assert found == {**expected, "rate": row.rate}
    assert str(row.rate) == "1.2345"
    assert row.created_at.isoformat() == "2026-05-14T12:00:00+00:00"
    assert (row.streamed, row.estimated) == (True, True)
    settle()


def test_a_nul_that_a_client_named_is_recorded_as_a_replacement(bank: Bank):
    """PostgreSQL refuses NUL in text and in jsonb; one request must not stop the writer."""
    bank.run(bank.refusal("r1", model="a\0b", attempts=["\0", "\\u0000", "\\\0"]), bank.refusal("r2"))

    row = UsageRecord.objects.get(pk="r1")
    assert row.model == "a\ufffdb"
    assert row.attempts == ["\ufffd", "\\u0000", "\\\ufffd"]
    assert sorted(bank.records()) == ["r1", "r2"]


def test_records_alone_never_touch_money_not_even_of_a_request_that_holds(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("r1", 40))

    bank.run(bank.refusal("r1"), bank.refusal("r2"))

    assert bank.wallet() == (100, 40)
    assert bank.holds() == {"r1": (40, False)}


def test_of_a_record_and_a_capture_of_one_request_the_capture_counts(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("r1", 40))

    bank.run(bank.refusal("r1"), bank.capture("r1", 30, 40))

    assert bank.records() == {"r1": ("ok", 30, 0)}
    assert bank.wallet() == (100, 30)
    assert bank.breaches() == []


def test_what_another_connection_holds_is_not_available(bank: Bank):
    bank.credit(100)
    with new_batch() as other:
        assert other.run([bank.hold("r1", 60)]) == [Granted(60)]

    assert bank.run(bank.hold("r2", 60)) == [Refused(40)]


def test_the_largest_wallet_and_hold_are_exact(bank: Bank):
    most = 4 * 10**18
    execute("UPDATE billing_wallet SET balance_nanos = %s, credit_limit_nanos = %s", most, 2 * 10**18)

    outcomes = bank.run(bank.hold("r1", 6 * 10**18 - 1), bank.hold("r2", 2), bank.hold("r3", 1))
    bank.run(bank.capture("r1", 6 * 10**18 - 3, 6 * 10**18 - 1))

    assert outcomes == [Granted(6 * 10**18 - 1), Refused(1), Granted(1)]
    assert bank.wallet() == (most, 6 * 10**18 - 2)
    assert bank.records() == {"r1": ("ok", 6 * 10**18 - 3, 0)}
