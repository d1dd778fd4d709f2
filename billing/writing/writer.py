"""The writer: one thread a process and one connection, which commits whatever is waiting in a single transaction.

Hold and capture are the only database work of a request. Both are submitted here without waiting and answered through
a future of the event loop; a capture commits whether or not anyone still waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from billing.tallies import Tallies
from billing.writing import leases
from billing.writing.batch import Batch
from billing.writing.connections import batch_on, is_connection_trouble
from billing.writing.items import CaptureItem, HoldItem, Item, Outcome, RecordItem
from billing.writing.statements import Dialect, Record

log = logging.getLogger(__name__)

MAX_BATCH = 256
# A hold that has waited this long for the database is given up; captures never are.
HOLD_PATIENCE = 3.0
RETRY_FIRST, RETRY_LAST = 0.05, 1.0
STUCK_RETRY = 5.0


class WriterUnavailable(Exception):
    """The database cannot be written now. Nothing was held, or the hold is released with the request's record."""


@dataclass(slots=True)
class _Job:
    item: Item
    future: asyncio.Future[Outcome] | None
    submitted: float


class Writer:
    """Submit from the event loop; the thread does the rest. `nudge` is called after captures, on its own thread."""

    def __init__(self, *, alias: str = DEFAULT_DB_ALIAS, nudge: Callable[[], None] | None = None) -> None:
        self.alias = alias
        self.lease_id = ""
        self.dialect = Dialect(connections[alias].vendor)
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._nudge = nudge
        self._nudged = threading.Event()
        self._closing = False
        self._failing_since: float | None = None
        self._busy_since: float | None = None
        self._stuck: list[_Job] = []
        self._stuck_at = 0.0
        self._lease_at = -math.inf
        self._tallies = Tallies()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._nudger = threading.Thread(target=self._run_nudger, name="nudger", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    # Called from the event loop ------------------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread; returns once it holds a lease, or raises WriterUnavailable after HOLD_PATIENCE seconds."""
        self._loop = loop
        self._thread.start()
        if self._nudge is not None:
            self._nudger.start()
        if not self._ready.wait(HOLD_PATIENCE * 4):
            raise WriterUnavailable("the database did not answer")

    @property
    def healthy(self) -> bool:
        """False while the database has refused writes for longer than a moment: new requests get 503."""
        now, failing, busy = time.monotonic(), self._failing_since, self._busy_since
        answering = (failing is None or now - failing < 1.0) and (busy is None or now - busy < HOLD_PATIENCE)
        return self._thread.is_alive() and answering and not self._stuck

    def now(self) -> str:
        """This moment, as the database stores it."""
        return self.dialect.timestamp(datetime.now(UTC))

    def hold(self, item: HoldItem) -> asyncio.Future[Outcome]:
        """Ask for a hold: a future of Granted or Refused. It fails with WriterUnavailable."""
        item.lease_id = self.lease_id
        return self._submit(item)

    def capture(self, item: CaptureItem) -> asyncio.Future[Outcome]:
        """Record a request and charge it: a future that is done when the transaction has committed. It never fails."""
        return self._submit(item)

    def record(self, record: Record) -> None:
        """Insert the record of a request that held nothing, without anyone waiting."""
        self._queue.put(_Job(RecordItem(record), None, time.monotonic()))

    def tally(self, *, api_key_id: int, organization_id: int, error_code: str) -> None:
        """Count a refusal that is not worth a record of its own."""
        self._tallies.add(api_key_id=api_key_id, organization_id=organization_id, error_code=error_code)

    def _submit(self, item: Item) -> asyncio.Future[Outcome]:
        assert self._loop is not None
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._queue.put(_Job(item, future, time.monotonic()))
        return future

    def close(self, timeout: float = 30.0) -> bool:
        """Commit what is waiting, give the lease back, stop. False where that was not done in time."""
        self._closing = True
        self._queue.put(None)
        self._thread.join(timeout)
        self._nudged.set()
        return not self._thread.is_alive()

    # The writer's thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        batch: Batch | None = None
        stop = False
        while not stop or not self._queue.empty():
            jobs, last = self._next_jobs()
            stop = stop or last
            retry, fresh = RETRY_FIRST, True
            while True:
                self._busy_since = time.monotonic()
                try:
                    if batch is None:
                        batch = self._connect()
                    self._keep_lease()
                    self._work(batch, jobs, fresh=fresh)
                    self._failing_since = self._busy_since = None
                    break
                except Exception as error:
                    # The connection is in doubt: the batch is replayed on a new one. Replaying is idempotent.
                    batch, fresh = None, False
                    self._disconnect()
                    self._lease_at = -math.inf  # renewing the lease proves that the database can be written again
                    self._failing_since = self._failing_since or time.monotonic()
                    log.warning("writer: database unavailable, retrying: %s", _brief(error))
                    jobs = self._give_up_holds(jobs)
                    if stop and not jobs:
                        break
                    time.sleep(retry)
                    retry = min(retry * 2, RETRY_LAST)
                    more, last = self._drain([])
                    stop = stop or last
                    jobs += more
        self._finish()

    def _next_jobs(self) -> tuple[list[_Job], bool]:
        """Wait for work, at most until something periodic is due. True where `close` was called."""
        try:
            first = self._queue.get(timeout=1.0 if self.lease_id else 0.0)  # the lease is taken at once
        except Empty:
            return [], False
        return ([], True) if first is None else self._drain([first])

    def _drain(self, jobs: list[_Job]) -> tuple[list[_Job], bool]:
        while len(jobs) < MAX_BATCH:
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    def _connect(self) -> Batch:
        return batch_on(connections[self.alias])

    def _disconnect(self) -> None:
        try:
            connections[self.alias].close()
        except Exception as error:
            log.debug("writer: closing a broken connection: %s", _brief(error))

    def _keep_lease(self) -> None:
        """Renew the lease every few seconds, and before anything else where this process may have been asleep."""
        now = time.monotonic()
        if now - self._lease_at < leases.RENEW_EVERY:
            return
        if not self.lease_id or not leases.renew(self.lease_id, alias=self.alias):
            self.lease_id = leases.take(alias=self.alias)
        self._lease_at = now
        self._ready.set()
        self._tallies.flush(alias=self.alias)

    def _work(self, batch: Batch, jobs: list[_Job], *, fresh: bool) -> None:
        """Commit jobs. Where that raises, the connection is in doubt, and `jobs` are those still to be done."""
        if self._stuck and time.monotonic() - self._stuck_at > STUCK_RETRY:
            self._retry_stuck(batch)
        if not jobs:
            return
        for job in jobs:
            if isinstance(job.item, HoldItem):
                job.item.lease_id = self.lease_id  # a job may have waited while the lease was lost and taken anew
        try:
            outcomes = batch.run([job.item for job in jobs], fresh=fresh)
        except Exception as error:
            if is_connection_trouble(error):
                raise
            log.exception("writer: a batch of %d failed; trying item by item", len(jobs))
            self._one_by_one(batch, jobs)
            return
        self._answer(list(zip(jobs, outcomes, strict=True)))

    def _retry_stuck(self, batch: Batch) -> None:
        stuck, self._stuck = self._stuck, []
        try:
            self._one_by_one(batch, stuck)
        finally:
            self._stuck += stuck  # where the connection was lost on the way

    def _one_by_one(self, batch: Batch, jobs: list[_Job]) -> None:
        """Commit each job alone and take it out of `jobs`: what is done must not be replayed with the rest."""
        while jobs:
            job = jobs[0]
            try:
                [outcome] = batch.run([job.item])
            except Exception as error:
                if is_connection_trouble(error):
                    raise
                self._reject(job, error)
            else:
                self._answer([(job, outcome)])
            del jobs[0]

    def _reject(self, job: _Job, error: Exception) -> None:
        """An item that fails alone: a hold is refused, a capture is kept and tried again for as long as we live.

        The record of a refusal is given up: no money depends on it, and it must not keep paying requests out.
        """
        if isinstance(job.item, HoldItem):
            self._fail([job], error)
            return
        log.error("writer: cannot record %s: %s", job.item.record, _brief(error))
        if isinstance(job.item, RecordItem):
            return
        self._stuck.append(job)
        self._stuck_at = time.monotonic()

    def _answer(self, done: list[tuple[_Job, Outcome]]) -> None:
        if any(isinstance(job.item, CaptureItem) for job, _ in done):
            self._nudged.set()
        waiting = [(job.future, outcome) for job, outcome in done if job.future is not None]
        if waiting:
            self._call(_resolve, waiting)

    def _give_up_holds(self, jobs: list[_Job]) -> list[_Job]:
        """Refuse the holds that have waited too long; the rest stays."""
        limit = time.monotonic() - (0 if self._closing else HOLD_PATIENCE)
        late: list[_Job] = []
        kept: list[_Job] = []
        for job in jobs:
            (late if isinstance(job.item, HoldItem) and job.submitted < limit else kept).append(job)
        self._fail(late, WriterUnavailable("the database cannot be written now"))
        return kept

    def _fail(self, jobs: Sequence[_Job], error: Exception) -> None:
        futures = [job.future for job in jobs if job.future is not None]
        if futures:
            self._call(_refuse, (futures, str(error)))

    def _call(self, function: Callable[[Any], None], argument: object) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:
            log.debug("writer: the event loop has ended before its answer")

    def _finish(self) -> None:
        try:
            if self._stuck:
                self._retry_stuck(self._connect())
            self._tallies.flush(alias=self.alias)
            leases.give_back(self.lease_id, alias=self.alias)
        except Exception as error:
            log.warning("writer: could not give its lease back (it expires): %s", _brief(error))
        self._disconnect()

    # The nudger's thread -------------------------------------------------------------------------------------------

    def _run_nudger(self) -> None:
        """Wake settlement at most once a second. It runs every second anyway: a lost nudge costs nothing."""
        assert self._nudge is not None
        while not self._closing:
            self._nudged.wait()
            self._nudged.clear()
            if self._closing:
                return
            try:
                self._nudge()
            except Exception as error:
                log.debug("writer: nudging settlement failed: %s", _brief(error))
            time.sleep(1.0)


def _resolve(done: list[tuple[asyncio.Future[Outcome], Outcome]]) -> None:
    for future, outcome in done:
        if not future.done():
            future.set_result(outcome)


def _refuse(argument: tuple[list[asyncio.Future[Outcome]], str]) -> None:
    for future in argument[0]:
        if not future.done():
            future.set_exception(WriterUnavailable(argument[1]))


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
