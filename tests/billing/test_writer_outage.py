"""The writer while the database is locked, lost or read-only: holds are given up, captures never are."""

from __future__ import annotations

import time

import pytest
from django.db import connections

from billing.settlement import settle
from billing.writing import connections as writers_connections
from billing.writing import writer as writing
from billing.writing.batch import Batch
from billing.writing.writer import WriterUnavailable
from tests.cast.money import POSTGRES, Bank, Granted, Refused, bank_fixture, execute  # noqa: F401
from tests.cast.writing import (  # noqa: F401
    PATIENT,
    Desk,
    Runs,
    cut_connections,
    desk_fixture,
    lost,
    once,
    outage,
    runs_fixture,
)
from tests.conftest import eventually


def test_a_locked_database_gives_holds_up_and_keeps_captures(bank: Bank, desk: Desk):
    bank.credit(100)
    desk.hold(bank.hold("r1", 60)).result(PATIENT)

    with outage():
        captured = desk.capture(bank.capture("r1", 25, 60))
        held = desk.hold(bank.hold("r2", 10))
        with pytest.raises(WriterUnavailable):
            held.result(PATIENT)
        eventually(lambda: not desk.writer.healthy)
        assert not captured.done()
        assert bank.records() == {}

    assert captured.result(PATIENT) is None
    eventually(lambda: desk.writer.healthy)
    assert bank.records() == {"r1": ("ok", 25, 0)}
    assert bank.holds() == {"r1": (25, True)}
    assert bank.wallet() == (100, 25)
    assert bank.breaches() == []


def test_a_hold_hears_of_an_outage_about_when_its_patience_ends(bank: Bank, desk: Desk):
    """Without a bound of its own, SQLite's wait for a lock (20 s) and PostgreSQL's (for ever) would decide."""
    bank.credit(100)
    with outage():
        started = time.monotonic()
        with pytest.raises(WriterUnavailable):
            desk.hold(bank.hold("r1", 10)).result(PATIENT)

        assert 0.3 <= time.monotonic() - started < 3.0

    assert desk.hold(bank.hold("r2", 100)).result(PATIENT) == Granted(100)
    assert bank.holds() == {"r2": (100, False)}


def test_patience_is_longer_than_one_wait_for_a_lock():
    assert writers_connections.LOCK_PATIENCE_MS / 1000 * 2 <= writing.HOLD_PATIENCE


def test_a_short_outage_is_not_noticed_by_holds(bank: Bank, desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writing, "HOLD_PATIENCE", PATIENT)
    bank.credit(100)
    with outage():
        held = desk.hold(bank.hold("r1", 10))
        eventually(lambda: desk.writer._failing_since is not None)
        assert not held.done()

    assert held.result(PATIENT) == Granted(10)
    assert bank.wallet() == (100, 10)


def test_an_idle_writer_is_healthy_again_only_once_it_has_written(bank: Bank, desk: Desk):
    bank.credit(100)
    with outage():
        with pytest.raises(WriterUnavailable):
            desk.hold(bank.hold("r1", 10)).result(PATIENT)
        failing_since = desk.writer._failing_since
        eventually(lambda: not desk.writer.healthy)
        assert failing_since is not None
        assert desk.writer._failing_since == failing_since

    eventually(lambda: desk.writer.healthy)
    assert bank.holds() == {}


def test_a_database_that_says_nothing_at_all_is_noticed(bank: Bank, desk: Desk, runs: Runs):
    """A network that swallows packets raises no error for minutes."""
    bank.credit(100)
    with runs.held_back():
        held = desk.hold(bank.hold("r1", 10))
        eventually(lambda: not desk.writer.healthy)
        assert desk.writer._failing_since is None

    assert held.result(PATIENT) == Granted(10)
    eventually(lambda: desk.writer.healthy)


def test_a_commit_whose_answer_was_lost_is_replayed_without_moving_money(bank: Bank, desk: Desk, runs: Runs):
    bank.credit(100)
    desk.hold(bank.hold("r1", 30)).result(PATIENT)
    with runs.held_back():
        first = desk.hold(bank.hold("r0", 0))
        eventually(lambda: len(runs.tried) == 2)
        captured = desk.capture(bank.capture("r1", 20, 30))
        everything, nothing = desk.hold(bank.hold("r2", 80)), desk.hold(bank.hold("r3", 1))
        runs.after = once(lost(), where=lambda requests: "r2" in requests)

    assert [f.result(PATIENT) for f in (first, captured, everything, nothing)] == [
        Granted(0),
        None,
        Granted(80),
        Refused(0),
    ]
    assert runs.done[2:] == [["r1", "r2", "r3"]] * 2
    assert bank.wallet() == (100, 100)
    assert bank.breaches() == []


def test_a_hold_that_was_given_up_though_committed_is_released_by_its_record(bank: Bank, desk: Desk, runs: Runs):
    bank.credit(100)
    runs.after = lambda requests: (_ for _ in ()).throw(lost())
    with pytest.raises(WriterUnavailable):
        desk.hold(bank.hold("r1", 60)).result(PATIENT)
    assert bank.wallet() == (100, 60)
    runs.after = lambda requests: None

    desk.capture(bank.capture("r1", 0, None, status="cancelled")).result(PATIENT)

    assert bank.wallet() == (100, 0)
    assert settle() == 1
    assert bank.holds() == {}
    assert bank.records() == {"r1": ("cancelled", 0, 0)}
    assert bank.breaches() == []


def test_a_lost_connection_is_replaced(bank: Bank, desk: Desk, runs: Runs):
    """On PostgreSQL the server ends the session; SQLite has none, so there the driver's error stands in for it."""
    bank.credit(100)
    desk.hold(bank.hold("r1", 30)).result(PATIENT)

    if POSTGRES:
        assert cut_connections() >= 1
    else:
        runs.before = once(lost())
    answers = [desk.capture(bank.capture("r1", 20, 30)), desk.hold(bank.hold("r2", 80))]

    assert [answer.result(PATIENT) for answer in answers] == [None, Granted(80)]
    assert bank.wallet() == (100, 100)
    assert bank.breaches() == []


def test_a_connection_lost_in_the_middle_of_a_batch_leaves_no_half_of_it(bank: Bank, desk: Desk, monkeypatch):
    bank.credit(100)
    desk.hold(bank.hold("r1", 30)).result(PATIENT)
    cut: list[int] = []
    write_back = Batch._write_back

    def cut_then_write_back(batch, books):
        if not cut:
            cut.append(cut_connections())
            if not POSTGRES:
                raise lost()
        write_back(batch, books)

    def shown():
        connections.close_all()
        return bank.wallet(), bank.holds()

    monkeypatch.setattr(Batch, "_write_back", cut_then_write_back)

    assert desk.capture(bank.capture("r1", 20, 30)).result(PATIENT) is None
    assert len(cut) == 1
    assert shown() == ((100, 20), {"r1": (20, True)})
    assert bank.breaches() == []


def test_a_database_that_became_read_only_is_connected_to_anew(bank: Bank, desk: Desk, monkeypatch):
    """After a failover the old primary still answers, and refuses every write until we go to the new one."""
    bank.credit(100)
    connected: list[int] = []
    connect = writing.Writer._connect

    def connecting(writer):
        batch = connect(writer)
        connected.append(1)
        return batch

    monkeypatch.setattr(writing.Writer, "_connect", connecting)
    lock = Batch._lock_wallets
    tripped: list[int] = []

    def read_only_at_first(batch, *arguments):
        if not tripped:
            tripped.append(1)
            batch.connection.execute("SET TRANSACTION READ ONLY" if POSTGRES else "PRAGMA query_only = 1")
        return lock(batch, *arguments)

    monkeypatch.setattr(Batch, "_lock_wallets", read_only_at_first)

    assert desk.hold(bank.hold("r1", 30)).result(PATIENT) == Granted(30)
    assert connected == [1]
    assert bank.wallet() == (100, 30)


def test_closing_in_an_outage_gives_holds_up_and_records_as_soon_as_it_can(bank: Bank, desk: Desk):
    bank.credit(100)
    desk.hold(bank.hold("r1", 30)).result(PATIENT)
    with outage():
        captured = desk.capture(bank.capture("r1", 20, 30))
        held = desk.hold(bank.hold("r2", 10))
        assert not desk.writer.close(timeout=0.1)
        with pytest.raises(WriterUnavailable):
            held.result(PATIENT)
        assert not captured.done()

    assert desk.writer.close()
    assert captured.result(PATIENT) is None
    assert bank.records() == {"r1": ("ok", 20, 0)}
    assert bank.wallet() == (100, 20)
