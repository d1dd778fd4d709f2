"""A batch that is tried again, named twice or broken: money moves once, or not at all."""

from __future__ import annotations

import pytest

from billing.settlement import settle
from tests.cast.money import Bank, Granted, Refused, bank_fixture  # noqa: F401


def test_the_same_capture_twice_is_one_charge(bank: Bank):
    bank.credit(1_000)
    bank.run(bank.hold("r1", 100))

    bank.run(bank.capture("r1", 30, 100), bank.capture("r1", 40, 100))
    bank.run(bank.capture("r1", 50, 100))

    assert bank.records() == {"r1": ("ok", 30, 0)}
    assert bank.wallet() == (1_000, 30)
    assert settle() == 1
    bank.run(bank.capture("r1", 30, 100))
    assert bank.wallet() == (970, 0)
    assert bank.holds() == {}
    assert bank.breaches() == []


def test_the_same_hold_twice_in_a_batch_is_one_hold(bank: Bank):
    bank.credit(1_000)

    outcomes = bank.run(bank.hold("r1", 100), bank.hold("r1", 100))

    assert outcomes == [Granted(100), Granted(100)]
    assert bank.wallet() == (1_000, 100)


def test_a_batch_that_was_committed_after_all_changes_nothing_when_it_is_replayed(bank: Bank):
    bank.credit(1_000)
    number = bank.budget(2_000)
    bank.run(bank.hold("r1", 500, budget_ids=(number,)), bank.hold("r2", 300, budget_ids=(number,)))

    def batch():
        return [
            bank.capture("r1", 450, 500, (number,)),
            bank.capture("r2", 310, 300, (number,)),
            bank.hold("r3", 240, budget_ids=(number,)),
            bank.hold("r4", 1, budget_ids=(number,)),
            bank.refusal("r5"),
        ]

    first = bank.run(*batch())
    state = bank.wallet(), bank.holds(), bank.records(), bank.spent(number)

    assert bank.run(*batch()) == first == [None, None, Granted(240), Refused(0), None]
    assert (bank.wallet(), bank.holds(), bank.records(), bank.spent(number)) == state
    assert state[0] == (1_000, 1_000)
    assert state[3] == (760, 240)
    assert bank.breaches() == []


def test_a_replayed_hold_stands_though_its_own_money_is_no_longer_available(bank: Bank):
    """Refusing it would leave money held for a request that was sent away."""
    bank.credit(100)
    bank.run(bank.hold("r1", 100))

    outcomes = bank.run(bank.hold("r1", 100))

    assert outcomes == [Granted(100)]
    assert bank.wallet() == (100, 100)


def test_a_replay_does_not_refuse_newcomers_by_counting_its_holds_twice(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("r1", 40))

    outcomes = bank.run(bank.hold("r1", 40), bank.hold("r2", 61), bank.hold("r3", 60))

    assert outcomes == [Granted(40), Refused(60), Granted(60)]
    assert bank.wallet() == (100, 100)
    assert bank.breaches() == []


def test_a_capture_that_does_not_know_its_grant_asks_the_database(bank: Bank):
    bank.credit(1_000)
    number = bank.budget(500)
    bank.run(bank.hold("r1", 100, budget_ids=(number,)))

    bank.run(bank.capture("r1", 0, None), bank.capture("r2", 0, None))

    assert bank.wallet() == (1_000, 0)
    assert bank.spent(number) == (0, 0)
    assert bank.holds() == {"r1": (0, True)}
    assert bank.breaches() == []


def test_a_failed_batch_leaves_nothing(bank: Bank):
    bank.credit(1_000)
    bank.run(bank.hold("r1", 100))
    poison = bank.capture("r2", 1, None)
    poison.record.status = None  # NOT NULL refuses it on both databases

    with pytest.raises(Exception, match=r"(?i)not.null"):
        bank.run(bank.capture("r1", 30, 100), bank.hold("r3", 50), poison)

    assert bank.wallet() == (1_000, 100)
    assert bank.holds() == {"r1": (100, False)}
    assert bank.records() == {}
    assert bank.run(bank.hold("r3", 50)) == [Granted(50)]  # the connection is still of use


def test_a_statement_whose_result_nobody_reads_fails_the_batch_all_the_same(bank: Bank):
    """In PostgreSQL's pipeline its error arrives after the commit was sent, which must then not have happened."""
    bank.credit(1_000)
    move = bank.batch.statements["move_held"]
    bank.batch.statements["move_held"] = move.replace("held_nanos + v.delta", "NULL")

    with pytest.raises(Exception, match=r"(?i)not.null"):
        bank.run(bank.hold("r1", 50), bank.refusal("r2"))

    assert (bank.holds(), bank.records(), bank.wallet()) == ({}, {}, (1_000, 0))
    bank.batch.statements["move_held"] = move
    assert bank.run(bank.hold("r1", 50)) == [Granted(50)]
    assert bank.wallet() == (1_000, 50)
