"""Many connections at one wallet: what is granted never exceeds what is there, and the proof holds while they work."""

from __future__ import annotations

import random
import threading

import pytest

from billing.models import DayTotal, LedgerEntry, UsageRecord
from billing.reconciliation import reconcile
from billing.services import add_entry, wallet_of
from billing.settlement import settle
from billing.sweep import sweep
from tests.cast.money import Bank, Granted, Refused, bank_fixture, in_threads, new_batch  # noqa: F401
from tests.cast.waiting import eventually
from tests.cast.writing import PATIENT, Desk

THREADS = 4


def test_what_is_granted_at_the_same_time_never_exceeds_the_balance(bank: Bank):
    bank.credit(1_003)
    start = threading.Barrier(THREADS)

    def hammer(name: int):
        with new_batch() as batch:
            start.wait()
            return [batch.run([bank.hold(f"t{name}-{n:03}", 10)])[0] for n in range(50)]

    each = in_threads(*[lambda name=name: hammer(name) for name in range(THREADS)])
    outcomes = [outcome for outcomes in each for outcome in outcomes]

    assert outcomes.count(Granted(10)) == 100
    assert len([o for o in outcomes if isinstance(o, Refused)]) == 100
    assert outcomes.count(Refused(3)) == 100
    assert bank.wallet() == (1_003, 1_000)
    assert len(bank.holds()) == 100
    assert bank.breaches() == []


def test_a_budget_is_not_overdrawn_either(bank: Bank):
    bank.credit(10**9)
    number = bank.budget(505, window="day")
    start = threading.Barrier(THREADS)

    def hammer(name: int):
        with new_batch() as batch:
            start.wait()
            granted = 0
            for n in range(30):
                request = f"t{name}-{n:03}"
                if batch.run([bank.hold(request, 10, budget_ids=(number,))]) == [Granted(10)]:
                    granted += 1
                    batch.run([bank.capture(request, 10, 10, (number,))])
            return granted

    assert sum(in_threads(*[lambda name=name: hammer(name) for name in range(THREADS)])) == 50

    assert sum(bank.spent(number)) == bank.wallet()[1] == 500
    assert bank.breaches() == []


def test_writers_settlement_sweep_and_operators_agree_and_every_proof_meanwhile_is_clean(bank: Bank):
    """Batches lock their wallets in opposite orders of arrival: a deadlock would fail a batch, and so this test."""
    owners = [bank.organization(50_000) for _ in range(3)]
    budgets = [bank.budget(10**9, number=owner) for owner in owners]
    working = threading.Event()
    working.set()

    def write(name: int):
        chance = random.Random(name)
        charged = 0
        with new_batch() as batch:
            for n in range(40):
                order = owners if name % 2 else owners[::-1]
                picked = [(f"t{name}-{n:03}-{owner}", owner, budgets[owners.index(owner)]) for owner in order]
                outcomes = batch.run(
                    [bank.hold(r, 100, organization_id=owner, budget_ids=(b,)) for r, owner, b in picked]
                )
                assert outcomes == [Granted(100)] * 3
                captures = []
                for request, owner, budget in picked:
                    if chance.random() < 0.8:
                        cost = chance.randrange(101)
                        charged += cost
                        captures.append(bank.capture(request, cost, 100, (budget,), organization_id=owner))
                batch.run(captures[::-1])
        return charged

    def repeat(function):
        results = []
        while working.is_set():
            results.append(function())
        return results

    def operate():
        count = 0
        while working.is_set():
            for owner in owners[::-1]:
                wallet = wallet_of(organization=Bank.organization_of(owner))
                add_entry(wallet=wallet, kind="credit", amount_nanos=1, idempotency_key=f"op{count}-{owner}")
            count += 1
        return count

    seen: list[dict[str, object]] = []

    def prove():
        seen.append(reconcile())
        return seen[-1]

    def write_all():
        try:
            charged = in_threads(lambda: write(1), lambda: write(2))
            # However slow the machine: a proof must have been made after a settlement, while the others worked.
            eventually(lambda: any(report["charged_nanos"] for report in seen), within=60)
            return charged
        finally:
            working.clear()

    charged, settled, swept, proofs, credits = in_threads(
        write_all, lambda: repeat(settle), lambda: repeat(sweep), lambda: repeat(prove), operate
    )

    assert sum(swept) == 0  # the lease lives
    assert [report["breaches"] for report in proofs if report["breach_count"]] == []
    assert sum(settled) + settle() == UsageRecord.objects.count()
    bank.expire_lease()
    sweep()
    wallets = [bank.wallet(owner) for owner in owners]
    assert sum(balance for balance, _ in wallets) == 150_000 + 3 * credits - sum(charged)
    assert [held for _, held in wallets] == [0, 0, 0]
    assert sum(DayTotal.objects.values_list("cost_nanos", flat=True)) == sum(charged)
    assert bank.breaches() == []


def test_writer_threads_of_several_processes_share_one_wallet(bank: Bank):
    bank.credit(1_000)
    desks = [Desk() for _ in range(3)]
    try:
        answers = [desk.hold(bank.hold(f"d{d}-{n:02}", 10)) for n in range(50) for d, desk in enumerate(desks)]
        outcomes = [answer.result(PATIENT) for answer in answers]
        granted = [answer for answer, outcome in zip(answers, outcomes, strict=True) if isinstance(outcome, Granted)]
        captured = [
            desks[n % 3].capture(bank.capture(request, 7, 10)) for n, request in enumerate(sorted(bank.holds()))
        ]
        assert [answer.result(PATIENT) for answer in captured] == [None] * 100
    finally:
        for desk in desks:
            desk.stop()

    assert len(granted) == 100
    assert bank.wallet() == (1_000, 700)
    assert settle() == 100
    assert bank.wallet() == (300, 0)
    assert bank.breaches() == []


@pytest.mark.parametrize("threads", [2, 4])
def test_the_same_credit_from_two_pages_at_once_is_one(bank: Bank, threads: int):
    wallet = wallet_of(organization=Bank.organization_of(bank.acme))

    def credit():
        return add_entry(wallet=wallet, kind="credit", amount_nanos=5, idempotency_key="a")

    assert sorted(in_threads(*[credit] * threads)) == [False] * (threads - 1) + [True]

    assert bank.wallet() == (5, 0)
    assert LedgerEntry.objects.count() == 1


def test_credits_at_the_same_time_as_holds_all_count(bank: Bank):
    wallet = wallet_of(organization=Bank.organization_of(bank.acme))

    def credit(name: str):
        for number in range(20):
            add_entry(wallet=wallet, kind="credit", amount_nanos=1, idempotency_key=f"{name}{number}")

    def hold():
        with new_batch() as batch:
            return [batch.run([bank.hold(f"r{n:02}", 1)])[0] for n in range(40)]

    *_, outcomes = in_threads(lambda: credit("a"), lambda: credit("b"), hold)

    granted = outcomes.count(Granted(1))
    assert bank.wallet() == (40, granted)
    assert len(bank.holds()) == granted
    assert bank.breaches() == []
