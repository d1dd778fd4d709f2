"""The sweep: what dead processes held goes back, once, whichever way a late capture races it."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from billing import sweep as sweeping
from billing.management.commands.sweep import Command
from billing.models import Hold, ProcessLease, UsageRecord
from billing.settlement import settle
from billing.sweep import sweep
from billing.writing import leases
from tests.cast.money import Bank, Granted, bank_fixture, in_threads, new_batch  # noqa: F401


def test_holds_of_a_dead_process_go_back_and_its_requests_are_interrupted(bank: Bank):
    bank.credit(1_000)
    number = bank.budget(500)
    bank.run(
        bank.hold("r1", 100, budget_ids=(number,), api_key_id=7, user_id=8, model="gpt", group="vip"),
        bank.hold("r2", 50, budget_ids=(number,)),
    )
    bank.expire_lease()

    assert sweep() == 2

    assert bank.wallet() == (1_000, 0)
    assert bank.spent(number) == (0, 0)
    assert bank.holds() == {}
    row = UsageRecord.objects.get(pk="r1")
    assert (row.status, row.cost_nanos, row.held_nanos, row.overrun_nanos) == ("interrupted", 0, 100, 0)
    assert (row.organization_id, row.api_key_id, row.user_id) == (bank.acme, 7, 8)
    assert (row.model, row.group, row.endpoint) == ("gpt", "vip", "chat")
    assert row.created_at.isoformat() == "2026-05-14T12:00:00+00:00"
    assert bank.breaches() == []


def test_living_processes_and_captured_holds_are_left_alone(bank: Bank):
    bank.credit(1_000)
    dead = leases.take()
    bank.run(bank.hold("alive", 100), bank.hold("dead", 50, lease_id=dead), bank.hold("captured", 30, lease_id=dead))
    bank.run(bank.capture("captured", 20, 30))
    bank.expire_lease(dead)

    assert sweep() == 1

    assert bank.holds() == {"alive": (100, False), "captured": (20, True)}
    assert bank.wallet() == (1_000, 120)
    assert bank.records() == {"captured": ("ok", 20, 0), "dead": ("interrupted", 0, 0)}
    assert bank.breaches() == []


def test_a_lease_is_dead_at_its_end_and_not_before(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("r1", 10))
    ProcessLease.objects.filter(pk=bank.lease).update(expires_at=Now() + timedelta(seconds=5))
    assert sweep() == 0
    ProcessLease.objects.filter(pk=bank.lease).update(expires_at=Now())

    assert sweep() == 1


def test_a_hold_whose_lease_is_gone_altogether_is_swept(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("r1", 10, lease_id="never seen"))

    assert sweep() == 1
    assert bank.wallet() == (100, 0)


def test_a_repeat_changes_nothing(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("r1", 10))
    bank.expire_lease()
    sweep()

    assert sweep() == 0
    assert bank.wallet() == (100, 0)
    assert bank.records() == {"r1": ("interrupted", 0, 0)}


def test_all_takes_the_holds_of_the_living_too(bank: Bank, capsys: pytest.CaptureFixture[str]):
    bank.credit(100)
    bank.run(bank.hold("r1", 10), bank.hold("r2", 20))
    bank.run(bank.capture("r2", 20, 20))
    Command().handle(all=False)
    assert bank.wallet() == (100, 30)

    Command().handle(all=True)

    assert capsys.readouterr().out == "swept 0\nswept 1\n"
    assert bank.holds() == {"r2": (20, True)}
    assert bank.wallet() == (100, 20)
    assert ProcessLease.objects.filter(pk=bank.lease).exists()


def test_a_task_is_held_until_its_own_deadline_whatever_its_process(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("due", 10), bank.hold("running", 20))
    Hold.objects.filter(pk="due").update(deadline=Now())
    Hold.objects.filter(pk="running").update(deadline=Now() + timedelta(minutes=1), lease=None)
    bank.expire_lease()

    assert sweep() == 1

    assert bank.holds() == {"running": (20, False)}
    assert bank.wallet() == (100, 20)
    assert bank.breaches() == []


def test_more_than_a_transaction_takes(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeping, "LIMIT", 10)
    bank.credit(1_000)
    other = bank.organization(1_000)
    bank.run(*[bank.hold(f"r{n:02}", n, organization_id=(bank.acme, other)[n % 2]) for n in range(25)])
    bank.expire_lease()

    assert sweep() == 25

    assert (bank.wallet(), bank.wallet(other)) == ((1_000, 0), (1_000, 0))
    assert len(bank.records()) == 25


def test_dead_leases_are_forgotten_once_nothing_refers_to_them(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("r1", 10), bank.hold("r2", 10))
    bank.run(bank.capture("r2", 5, 10))
    bank.expire_lease()

    sweep()
    assert ProcessLease.objects.filter(pk=bank.lease).exists()  # r2 waits for settlement
    settle()
    sweep()

    assert not ProcessLease.objects.exists()
    assert bank.breaches() == []


def test_a_capture_before_the_sweep_wins(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("r1", 10))
    bank.expire_lease()
    bank.run(bank.capture("r1", 7, 10))

    assert sweep() == 0

    assert bank.records() == {"r1": ("ok", 7, 0)}
    assert bank.wallet() == (100, 7)
    assert bank.breaches() == []


@pytest.mark.parametrize("cost", [0, 7, 15])
def test_a_capture_after_the_sweep_replaces_its_record_and_is_an_overrun(bank: Bank, cost: int):
    bank.credit(100)
    bank.run(bank.hold("r1", 10))
    bank.expire_lease()
    sweep()

    bank.run(bank.capture("r1", cost, 10, units={"input": 3}))
    bank.run(bank.capture("r1", cost, 10, units={"input": 3}))

    assert bank.records() == {"r1": ("ok", cost, cost)}
    assert UsageRecord.objects.get().units == {"input": 3}
    assert bank.wallet() == (100, cost)
    assert settle() == 1
    bank.run(bank.capture("r1", cost, 10))
    assert settle() == 0
    assert bank.wallet() == (100 - cost, 0)
    assert bank.breaches() == []


@pytest.mark.parametrize("status", ["ok", "cancelled", "upstream_error", "refused"])
def test_a_late_capture_replaces_an_interrupted_record_only(bank: Bank, status: str):
    bank.credit(100)
    bank.run(bank.hold("r1", 10))
    bank.run(bank.capture("r1", 5, 10, status=status))
    settle()

    bank.run(bank.capture("r1", 9, 10))

    assert bank.records() == {"r1": (status, 5, 0)}
    assert bank.wallet() == (95, 0)
    assert bank.breaches() == []


def test_of_two_late_captures_in_one_batch_one_is_charged(bank: Bank):
    bank.credit(100)
    bank.run(bank.hold("r1", 10))
    bank.expire_lease()
    sweep()

    outcomes = bank.run(bank.capture("r1", 7, 10), bank.capture("r1", 8, 10), bank.hold("r2", 93))

    assert outcomes == [None, None, Granted(93)]
    assert bank.records() == {"r1": ("ok", 7, 7)}
    assert bank.wallet() == (100, 100)
    assert bank.breaches() == []


def test_sweeps_and_captures_at_the_same_time_agree(bank: Bank):
    """Both orders happen; in each a request is charged exactly once, and its budget knows."""
    bank.credit(10_000)
    number = bank.budget(10_000)
    requests = [f"r{n:02}" for n in range(40)]
    bank.run(*[bank.hold(request, 10, budget_ids=(number,)) for request in requests])
    bank.expire_lease()
    start = threading.Barrier(3)

    def capture_all(step: int):
        with new_batch() as batch:
            start.wait()
            for request in requests[::step]:
                batch.run([bank.capture(request, 7, 10, (number,))])

    def sweep_slowly():
        start.wait()
        return sweep()

    original, sweeping.LIMIT = sweeping.LIMIT, 5
    try:
        in_threads(lambda: capture_all(1), lambda: capture_all(-1), sweep_slowly)
    finally:
        sweeping.LIMIT = original

    assert {(status, cost) for status, cost, _ in bank.records().values()} == {("ok", 7)}
    assert bank.wallet() == (10_000, 280)
    assert bank.spent(number) == (280, 0)
    assert bank.breaches() == []
    assert settle() == 40
    assert bank.wallet() == (9_720, 0)
    assert bank.breaches() == []


def swept_and_held_again(bank: Bank) -> None:
    """A process that slept in the middle of a commit: its hold was swept, and the replay has made it anew."""
    bank.credit(1_000)
    bank.run(bank.hold("r1", 100))
    bank.expire_lease()
    assert sweep() == 1
    assert bank.run(bank.hold("r1", 100, lease_id=leases.take())) == [Granted(100)]
    assert bank.wallet() == (1_000, 100)


def test_a_hold_that_was_swept_and_made_again_is_captured_once(bank: Bank):
    swept_and_held_again(bank)

    bank.run(bank.capture("r1", 60, 100))

    assert bank.wallet() == (1_000, 60)
    assert bank.holds() == {"r1": (60, True)}
    assert bank.records()["r1"][:2] == ("ok", 60)
    assert bank.breaches() == []


def test_a_hold_that_was_swept_and_made_again_is_swept_again(bank: Bank):
    swept_and_held_again(bank)
    ProcessLease.objects.update(expires_at=Now())

    assert sweep() == 1

    assert bank.wallet() == (1_000, 0)
    assert bank.holds() == {}
    assert bank.records() == {"r1": ("interrupted", 0, 0)}
    assert bank.breaches() == []
