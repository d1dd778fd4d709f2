"""The writer's thread: one transaction for whatever waits, leases, poison, and the end."""

from __future__ import annotations

import threading

import pytest
from django.db.models import F
from django.db.models.functions import Now

from billing.models import Hold, ProcessLease, RefusalTally
from billing.tallies import Tallies
from billing.writing import leases
from billing.writing.writer import WriterUnavailable
from tests.cast.money import Bank, Granted, Refused, bank_fixture  # noqa: F401
from tests.cast.writing import PATIENT, Desk, Runs, desk_fixture, lost, once, runs_fixture  # noqa: F401
from tests.conftest import eventually


def poisoned(bank: Bank, request: str):
    """A capture that the database refuses for what it says, not for how things are."""
    item = bank.capture(request, 0, None)
    item.record.status = None  # type: ignore[assignment]
    return item


def test_hold_and_capture_are_answered_and_committed(bank: Bank, desk: Desk):
    bank.credit(100)

    granted = desk.hold(bank.hold("r1", 60)).result(PATIENT)
    refused = desk.hold(bank.hold("r2", 60)).result(PATIENT)
    captured = desk.capture(bank.capture("r1", 25, 60)).result(PATIENT)

    assert (granted, refused, captured) == (Granted(60), Refused(40), None)
    assert bank.wallet() == (100, 25)
    assert bank.records() == {"r1": ("ok", 25, 0)}
    assert desk.writer.healthy
    assert bank.breaches() == []


def test_whatever_waits_is_one_transaction(bank: Bank, desk: Desk, runs: Runs):
    bank.credit(1_000)
    with runs.held_back():
        first = desk.hold(bank.hold("r0", 1))
        eventually(lambda: runs.tried)
        others = [desk.hold(bank.hold(f"r{n}", 1)) for n in range(1, 41)]

    assert [f.result(PATIENT) for f in (first, *others)] == [Granted(1)] * 41
    assert runs.done == [["r0"], [f"r{n}" for n in range(1, 41)]]


def test_records_and_tallies_need_nobody_to_wait(bank: Bank, desk: Desk):
    desk.writer.record(bank.refusal("r1").record)
    for _ in range(3):
        desk.writer.tally(api_key_id=7, organization_id=bank.acme, error_code="rate_limited")
    desk.writer._lease_at = 0.0

    # Two transactions, in either order: the tallies go with the lease, the record with a batch.
    eventually(lambda: RefusalTally.objects.exists() and bank.records())

    assert list(RefusalTally.objects.values_list("api_key_id", "error_code", "count")) == [(7, "rate_limited", 3)]
    assert bank.records() == {"r1": ("refused", 0, 0)}


def test_tallies_that_could_not_be_written_are_counted_still(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    tallies = Tallies()
    tallies.add(api_key_id=7, organization_id=bank.acme, error_code="rate_limited")
    with monkeypatch.context() as patch:
        patch.setattr(Tallies, "write", lambda *_, **__: (_ for _ in ()).throw(lost()))
        with pytest.raises(type(lost())):
            tallies.flush()
    tallies.add(api_key_id=7, organization_id=bank.acme, error_code="rate_limited")

    tallies.flush()
    tallies.flush()

    assert sum(RefusalTally.objects.values_list("count", flat=True)) == 2


def test_settlement_is_nudged_after_captures_only(bank: Bank, transactional_db):
    nudged = threading.Event()
    desk = Desk(nudge=nudged.set)
    bank.credit(100)
    desk.hold(bank.hold("r1", 10)).result(PATIENT)
    desk.writer.record(bank.refusal("r2").record)
    eventually(lambda: "r2" in bank.records())
    assert not nudged.is_set()

    desk.capture(bank.capture("r1", 10, 10)).result(PATIENT)

    assert nudged.wait(PATIENT)
    desk.stop()


def test_a_poisoned_capture_takes_nobody_down_and_is_kept_until_it_can_be_recorded(bank: Bank, desk: Desk, runs: Runs):
    bank.credit(100)
    poison = poisoned(bank, "r2")
    with runs.held_back():
        first = desk.hold(bank.hold("r0", 1))
        eventually(lambda: runs.tried)
        others = [desk.hold(bank.hold("r1", 10)), desk.hold(bank.hold("r3", 20))]
        stuck = desk.capture(poison)

    assert [f.result(PATIENT) for f in (first, *others)] == [Granted(1), Granted(10), Granted(20)]
    eventually(lambda: not desk.writer.healthy)
    assert not stuck.done()
    poison.record.status = "ok"
    assert stuck.result(PATIENT) is None
    eventually(lambda: desk.writer.healthy)
    assert bank.records() == {"r2": ("ok", 0, 0)}
    assert bank.wallet() == (100, 31)
    assert bank.breaches() == []


def test_a_poisoned_capture_is_not_lost_when_the_connection_is_while_it_is_tried_again(
    bank: Bank, desk: Desk, runs: Runs
):
    poisons = [poisoned(bank, "r1"), poisoned(bank, "r2")]
    answers = [desk.capture(poison) for poison in poisons]
    eventually(lambda: len(desk.writer._stuck) == 2)

    runs.before = once(lost())
    for poison in poisons:
        poison.record.status = "ok"

    assert [answer.result(PATIENT) for answer in answers] == [None, None]
    assert sorted(bank.records()) == ["r1", "r2"]


def test_a_poisoned_hold_fails_alone(bank: Bank, desk: Desk, runs: Runs):
    bank.credit(100)
    poison = bank.hold("r2", 10)
    poison.model = None  # type: ignore[assignment]
    with runs.held_back():
        first = desk.hold(bank.hold("r0", 1))
        eventually(lambda: runs.tried)
        good, bad = desk.hold(bank.hold("r1", 10)), desk.hold(poison)

    assert (first.result(PATIENT), good.result(PATIENT)) == (Granted(1), Granted(10))
    with pytest.raises(WriterUnavailable):
        bad.result(PATIENT)
    assert desk.writer.healthy
    assert bank.wallet() == (100, 11)
    assert sorted(bank.holds()) == ["r0", "r1"]


def test_a_poisoned_refusal_is_given_up_and_payers_go_on(bank: Bank, desk: Desk):
    """Else whoever finds a text that the database does not take shuts everyone out."""
    bank.credit(100)
    poison = bank.refusal("r1").record
    poison.status = None  # type: ignore[assignment]

    desk.writer.record(poison)
    granted = desk.hold(bank.hold("r2", 10)).result(PATIENT)

    assert granted == Granted(10)
    assert desk.writer.healthy
    assert bank.records() == {}


def test_item_by_item_what_is_done_is_not_done_again_when_the_connection_is_lost(bank: Bank, desk: Desk, runs: Runs):
    """A hold that was answered may be captured and settled by the time of a replay: it would be held twice."""
    bank.credit(100)
    poison = bank.hold("p", 1)
    poison.model = None  # type: ignore[assignment]
    with runs.held_back(then=once(lost(), where=lambda requests: requests == ["b"])):
        desk.hold(bank.hold("r0", 1))
        eventually(lambda: runs.tried)
        answers = [desk.hold(item) for item in (bank.hold("a", 10), poison, bank.hold("b", 20))]

    assert (answers[0].result(PATIENT), answers[2].result(PATIENT)) == (Granted(10), Granted(20))
    assert runs.tried == [["r0"], ["a", "p", "b"], ["a"], ["p"], ["b"], ["b"]]
    assert bank.wallet() == (100, 31)


def test_the_lease_is_renewed(bank: Bank, desk: Desk, monkeypatch: pytest.MonkeyPatch):
    ProcessLease.objects.filter(pk=desk.writer.lease_id).update(expires_at=F("expires_at") - leases.LASTS / 2)
    before = ProcessLease.objects.get(pk=desk.writer.lease_id).expires_at
    monkeypatch.setattr(leases, "RENEW_EVERY", 0.0)

    eventually(lambda: ProcessLease.objects.get(pk=desk.writer.lease_id).expires_at > before)

    assert ProcessLease.objects.filter(process__contains="pid").count() == 2  # the bank's and the writer's


def test_a_lost_lease_is_taken_anew_and_never_revived(bank: Bank, desk: Desk, monkeypatch: pytest.MonkeyPatch):
    bank.credit(100)
    old = desk.writer.lease_id
    desk.hold(bank.hold("r1", 10)).result(PATIENT)
    ProcessLease.objects.filter(pk=old).update(expires_at=Now())
    monkeypatch.setattr(leases, "RENEW_EVERY", 0.0)

    desk.hold(bank.hold("r2", 10)).result(PATIENT)

    assert desk.writer.lease_id != old
    assert dict(Hold.objects.values_list("pk", "lease_id")) == {"r1": old, "r2": desk.writer.lease_id}
    assert not leases.renew(old)


def test_a_hold_that_waited_while_the_lease_was_lost_is_held_under_the_new_one(
    bank: Bank, desk: Desk, runs: Runs, monkeypatch: pytest.MonkeyPatch
):
    bank.credit(100)
    old = desk.writer.lease_id
    monkeypatch.setattr(leases, "RENEW_EVERY", 0.0)
    with runs.held_back():
        desk.hold(bank.hold("r1", 10))
        eventually(lambda: runs.tried)
        waiting = desk.hold(bank.hold("r2", 10))
        ProcessLease.objects.filter(pk=old).update(expires_at=Now())

    waiting.result(PATIENT)

    assert Hold.objects.get(pk="r2").lease_id == desk.writer.lease_id != old


def test_close_commits_what_waits_even_what_comes_last_and_gives_the_lease_back(bank: Bank, desk: Desk, runs: Runs):
    bank.credit(1_000)
    desk.hold(bank.hold("r1", 100)).result(PATIENT)
    with runs.held_back():
        answers = [desk.capture(bank.capture("r1", 30, 100))]
        eventually(lambda: len(runs.tried) == 2)
        assert not desk.writer.close(timeout=0.05)
        answers += [desk.capture(bank.capture(f"late{n}", 0, None)) for n in range(300)]

    assert desk.writer.close()
    assert [answer.result(PATIENT) for answer in answers] == [None] * 301
    assert len(bank.records()) == 301
    assert leases.dead_lease_ids() == [desk.writer.lease_id]
    assert not desk.writer.healthy


def test_close_ends_though_a_poisoned_capture_cannot_be_recorded(bank: Bank, desk: Desk):
    answer = desk.capture(poisoned(bank, "r1"))
    eventually(lambda: desk.writer._stuck)

    assert desk.writer.close(timeout=5)
    assert not answer.done()
    assert bank.records() == {}
    answer.cancel()
