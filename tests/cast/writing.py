"""The writer's thread at work: an event loop to submit from, gates to hold it back, and outages of the database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.db.utils import OperationalError

from billing.writing import writer as writing
from billing.writing.batch import Batch
from billing.writing.items import CaptureItem, HoldItem, Item, Outcome
from billing.writing.writer import Writer
from tests.cast.money import POSTGRES, another_connection

PATIENT = 20.0


class Desk:
    """A writer, and an event loop in a thread of its own that submits to it."""

    def __init__(self, *, nudge: Callable[[], None] | None = None) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.writer = Writer(nudge=nudge)
        self.writer.start(self.loop)

    def hold(self, item: HoldItem) -> Future[Outcome]:
        return self._submit(self.writer.hold, item)

    def capture(self, item: CaptureItem) -> Future[Outcome]:
        return self._submit(self.writer.capture, item)

    def _submit(self, function: Callable[[Any], asyncio.Future[Outcome]], item: Item) -> Future[Outcome]:
        """Submitted when this returns, answered when the future is done."""
        submitted = threading.Event()

        async def wait() -> Outcome:
            future = function(item)
            submitted.set()
            return await future

        answer = asyncio.run_coroutine_threadsafe(wait(), self.loop)
        assert submitted.wait(PATIENT)
        return answer

    def stop(self) -> None:
        closed = self.writer.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENT)
        self.loop.close()
        assert closed


@pytest.fixture(name="desk")
def desk_fixture(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A writer that is soon out of patience."""
    monkeypatch.setattr(writing, "HOLD_PATIENCE", 0.3)
    monkeypatch.setattr("billing.writing.connections.LOCK_PATIENCE_MS", 50)
    monkeypatch.setattr(writing, "STUCK_RETRY", 0.05)
    monkeypatch.setattr(writing, "RETRY_LAST", 0.05)
    desk = Desk()
    yield desk
    desk.stop()


class Runs:
    """Every batch that the writer tries: its requests, in `tried`; and those that committed, in `done`.

    Before a batch runs, `before` may raise or wait; after its commit, `after` may raise.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried: list[list[str]] = []
        self.done: list[list[str]] = []
        self.before: Callable[[list[str]], None] = lambda requests: None
        self.after: Callable[[list[str]], None] = lambda requests: None
        run = Batch.run

        def watched(batch: Batch, items: Sequence[Item], **options: Any) -> list[Outcome]:
            requests = [item.request_id if isinstance(item, HoldItem) else item.record.request_id for item in items]
            self.tried.append(requests)
            self.before(requests)
            outcomes = run(batch, items, **options)
            self.done.append(requests)
            self.after(requests)
            return outcomes

        monkeypatch.setattr(Batch, "run", watched)

    @contextmanager
    def held_back(self, then: Callable[[list[str]], None] = lambda requests: None) -> Iterator[None]:
        """No batch runs until the block ends; then `before` is what is given."""
        gate = threading.Event()
        self.before = lambda requests: None if gate.wait(PATIENT) else pytest.fail("the gate stayed shut")
        try:
            yield
        finally:
            self.before = then
            gate.set()


@pytest.fixture(name="runs")
def runs_fixture(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)


def once(
    error: Exception, *, where: Callable[[list[str]], bool] = lambda requests: True
) -> Callable[[list[str]], None]:
    """Raise an error the first time that `where` holds."""
    errors = [error]

    def trip(requests: list[str]) -> None:
        if errors and where(requests):
            raise errors.pop()

    return trip


def lost() -> OperationalError:
    """What a driver raises when its connection is gone."""
    return OperationalError("server closed the connection unexpectedly")


@contextmanager
def outage() -> Iterator[None]:
    """Nobody else can write until the block ends."""
    with another_connection() as wrapper:
        if POSTGRES:
            wrapper.connection.execute("BEGIN")
            tables = "billing_wallet, billing_usagerecord, billing_processlease, billing_refusaltally"
            wrapper.connection.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")
        else:
            wrapper.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            wrapper.connection.execute("ROLLBACK")


def cut_connections() -> int:
    """Have PostgreSQL end every session but ours; SQLite has no server that could. How many there were."""
    if not POSTGRES:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return int(cursor.fetchone()[0])


__all__ = ["PATIENT", "Desk", "Runs", "cut_connections", "desk_fixture", "lost", "once", "outage", "runs_fixture"]
