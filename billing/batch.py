"""One transaction of the writer: many captures, records and holds at once, on PostgreSQL and SQLite alike.

Rows travel as one JSON parameter that the database unpacks, so each statement's text is constant whatever the size of
the batch. Order within a batch: lock the wallets (then budgets) in id order, apply captures, insert refusals, decide
holds in arrival order, update each wallet once. Replaying a batch changes nothing: money moves only for rows that this
transaction itself inserted or updated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import msgspec

from billing.statements import Dialect, Record, statements

Row = tuple[Any, ...]
# A request takes at most this share of what a wallet has left, unless it says itself what it needs.
SHARE = 8
# A NUL in JSON text, after any number of escaped backslashes.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


@dataclass(slots=True)
class HoldItem:
    """Ask for `want` nanos, or at least `minimum`, for a request of an organization."""

    request_id: str
    organization_id: int
    minimum: int
    want: int
    lease_id: str
    api_key_id: int
    user_id: int
    model: str
    group: str
    endpoint: str
    created_at: str
    budget_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Granted:
    """A hold was made over this many nanos."""

    amount: int


@dataclass(frozen=True, slots=True)
class Refused:
    """No hold was made: only `available` nanos are left, in the wallet or (where given) under a budget."""

    available: int
    budget_id: int | None = None


@dataclass(slots=True)
class CaptureItem:
    """A request's record, and what was held for it (None where that is not known: the database is asked)."""

    record: Record
    granted: int | None
    budget_ids: tuple[int, ...] = ()


@dataclass(slots=True)
class RecordItem:
    """The record of a request that held nothing."""

    record: Record


Item = HoldItem | CaptureItem | RecordItem
Outcome = Granted | Refused | None


class Connection(Protocol):
    """What the batch needs of a database connection: DB-API, in autocommit mode. Only psycopg has a pipeline."""

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Any: ...

    def pipeline(self) -> AbstractContextManager[Any]: ...


@dataclass(slots=True)
class _Wallet:
    available: int
    delta: int = 0


@dataclass(slots=True)
class _Budget:
    limit: int
    window: str
    window_start: date | None
    spent: int
    held: int

    @property
    def available(self) -> int:
        return self.limit - self.spent - self.held


@dataclass(slots=True)
class _Books:
    """The wallets and budgets of a batch, as the database has them now and as the batch will leave them."""

    wallets: dict[int, _Wallet] = field(default_factory=dict)
    budgets: dict[int, _Budget] = field(default_factory=dict)

    def move(self, organization_id: int, budget_ids: Iterable[int], *, held: int, spent: int) -> None:
        """Change what is held by `held`, of which `spent` will be charged: a budget counts that as spent at once."""
        wallet = self.wallets.get(organization_id)
        if wallet is not None:
            wallet.available -= held
            wallet.delta += held
        for budget_id in budget_ids:
            budget = self.budgets.get(budget_id)
            if budget is not None:
                budget.held += held - spent
                budget.spent += spent


def window_start(window: str, today: date) -> date | None:
    """The first day (UTC) of the budget window that `today` is in; None for a window that never ends."""
    if window == "day":
        return today
    return today.replace(day=1) if window == "month" else None


def _open_window(window: str, start: date | None, today: date) -> date | None:
    """The window to count in: that of `today`, unless a process whose clock is ahead has opened a later one."""
    current = window_start(window, today)
    if current is not None and start is not None and current < start <= today + timedelta(days=1):
        return start
    return current


def grant(*, available: int, minimum: int, want: int) -> int | None:
    """How much of `want` to hold of what is available, or None to refuse. All in nanos.

    The whole of it where that is at most an eighth of what is left; else an eighth, though never below `minimum`.
    """
    if minimum > available or available < 0:
        return None
    return min(want, max(minimum, available // SHARE))


class Batch:
    """Runs batches on one connection."""

    def __init__(self, connection: Connection, vendor: str) -> None:
        self.connection = connection
        self.dialect = Dialect(vendor)
        self.statements = statements(self.dialect)
        self.encoder = msgspec.json.Encoder()

    def run(self, items: Sequence[Item], *, now: datetime | None = None) -> list[Outcome]:
        """Apply all items in one transaction; the outcome of each, in order (None for captures and records)."""
        captures = [item for item in items if isinstance(item, CaptureItem)]
        records = [item for item in items if isinstance(item, RecordItem)]
        holds = [item for item in items if isinstance(item, HoldItem)]
        with self._transaction():
            books = self._lock(captures, holds, (now or datetime.now(UTC)).date())
            if captures or records:
                self._capture(captures, records, books)
            outcomes = self._hold(holds, books)
            self._write_back(books)
        return [outcomes.get(item.request_id) if isinstance(item, HoldItem) else None for item in items]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction. On PostgreSQL in pipeline mode: a statement whose rows nobody reads costs no round trip."""
        try:
            with self.connection.pipeline() if self.dialect.postgres else nullcontext():
                self.connection.execute(self.dialect.begin)
                yield
                self.connection.execute("COMMIT")
        except BaseException:
            try:
                self.connection.execute("ROLLBACK")
            except Exception:  # noqa: S110  (the connection is gone, and the transaction with it)
                pass
            raise

    def _rows(self, statement: str, rows: object) -> list[Row]:
        return list(self.connection.execute(self.statements[statement], (self._json(rows),)).fetchall())

    def _write(self, statement: str, rows: object) -> None:
        self.connection.execute(self.statements[statement], (self._json(rows),))

    def _json(self, rows: object) -> str:
        text = self.encoder.encode(rows).decode()
        # PostgreSQL stores no NUL, and a client may name one: in a model's name, say.
        return _NUL.sub(r"\g<1>\\ufffd", text) if "\\u0000" in text else text

    def _lock(self, captures: Sequence[CaptureItem], holds: Sequence[HoldItem], today: date) -> _Books:
        """Lock every wallet, then every budget, that the batch may move, in id order."""
        books = _Books()
        self._lock_wallets({i.record.organization_id for i in captures} | {i.organization_id for i in holds}, books)
        missing = {i.record.organization_id for i in captures if i.record.cost_nanos} - books.wallets.keys()
        if missing:  # a charge needs a wallet, be it one that nobody has put money into
            self._write("make_wallets", [{"id": number} for number in sorted(missing)])
            self._lock_wallets(missing, books)
        budget_ids = {number for i in captures for number in i.budget_ids}
        budget_ids.update(number for i in holds for number in i.budget_ids)
        for item in captures:
            found = self._open_hold(item.record.request_id) if item.granted is None else None
            if found is not None:
                item.granted, item.budget_ids = found
                budget_ids.update(item.budget_ids)
        if budget_ids:
            for number, limit, window, start, spent, held in self._rows(
                "lock_budgets", [{"id": number} for number in sorted(budget_ids)]
            ):
                if isinstance(start, str):
                    start = date.fromisoformat(start)
                current = _open_window(window, start, today)
                books.budgets[number] = _Budget(limit, window, current, spent if start == current else 0, held)
        return books

    def _lock_wallets(self, numbers: Iterable[int], books: _Books) -> None:
        ids = [{"id": number} for number in sorted(numbers)]
        for organization_id, balance, held, limit in self._rows("lock_wallets", ids) if ids else ():
            books.wallets[organization_id] = _Wallet(available=balance + limit - held)

    def _open_hold(self, request_id: str) -> tuple[int, tuple[int, ...]] | None:
        row = self.connection.execute(self.statements["open_hold"], (request_id,)).fetchone()
        if row is None:
            return None
        budget_ids = msgspec.json.decode(row[1]) if isinstance(row[1], str) else row[1]
        return row[0], tuple(budget_ids)

    def _capture(self, captures: Sequence[CaptureItem], records: Sequence[RecordItem], books: _Books) -> None:
        """Insert every record; shrink the hold of each request whose capture is new to what it cost."""
        # A request is captured once, even where a batch names it twice.
        first: dict[str, CaptureItem] = {}
        for item in captures:
            first.setdefault(item.record.request_id, item)
        inserted, shrunk = self._insert_records([i.record for i in first.values()]) if first else (set(), set())
        if records:
            # Apart from the captures: the record of a request that held nothing must not touch a hold.
            self._rows("insert_records", list({i.record.request_id: i.record for i in records}.values()))
        for request_id, item in first.items():
            record = item.record
            if request_id not in inserted:
                self._replace_interrupted(item, books)
            elif request_id in shrunk:
                cost = record.cost_nanos
                books.move(record.organization_id, item.budget_ids, held=cost - (item.granted or 0), spent=cost)
            elif record.cost_nanos:
                self._charge_without_hold(item, books)

    def _insert_records(self, records: Sequence[Record]) -> tuple[set[str], set[str]]:
        """Insert records and shrink the open holds of those that are new: the ids of the new, and of the shrunk."""
        if self.dialect.postgres:
            found = self._rows("insert_and_capture", records)
            return {row[0] for row in found}, {row[0] for row in found if row[1]}
        inserted = {row[0] for row in self._rows("insert_records", records)}
        charges = [
            {"request_id": record.request_id, "amount_nanos": record.cost_nanos}
            for record in records
            if record.request_id in inserted
        ]
        return inserted, {row[0] for row in self._rows("capture_holds", charges)} if charges else set()

    def _replace_interrupted(self, item: CaptureItem, books: _Books) -> None:
        """A capture after the sweep took the hold: its record replaces the `interrupted` one, all of it overrun.

        Where the record is of any other status, this is a replay, and nothing changes.
        """
        record = msgspec.structs.replace(item.record, overrun_nanos=item.record.cost_nanos)
        if self._rows("replace_interrupted", [record]):
            self._charge_without_hold(item, books)

    def _charge_without_hold(self, item: CaptureItem, books: _Books) -> None:
        """Put a charge into the settlement queue for a request that has no hold any more."""
        record = item.record
        row = {
            "request_id": record.request_id,
            "wallet_id": record.organization_id,
            "amount_nanos": record.cost_nanos,
            "captured": True,
            "lease_id": None,
            "budget_ids": [],
            "api_key_id": record.api_key_id,
            "user_id": record.user_id,
            "model": record.model,
            "group": record.group,
            "endpoint": record.endpoint,
            "created_at": record.created_at,
        }
        if self._rows("insert_holds", [row]):
            cost = record.cost_nanos
            books.move(record.organization_id, (), held=cost, spent=0)
            # The sweep gave the budgets back what was held; only what was spent is missing there.
            for budget_id in item.budget_ids:
                if budget_id in books.budgets:
                    books.budgets[budget_id].spent += cost

    def _hold(self, holds: Sequence[HoldItem], books: _Books) -> dict[str, Outcome]:
        """Decide holds in arrival order, each alone, and insert those that are granted."""
        outcomes: dict[str, Outcome] = {}
        granted: dict[str, tuple[HoldItem, int]] = {}
        for item in holds:
            if item.request_id in outcomes:
                continue
            outcome = self._decide(item, books)
            outcomes[item.request_id] = outcome
            if isinstance(outcome, Granted):
                books.move(item.organization_id, item.budget_ids, held=outcome.amount, spent=0)
                granted[item.request_id] = item, outcome.amount
        rows = [_hold_row(item, amount) for item, amount in granted.values()]
        inserted = {row[0] for row in self._rows("insert_holds", rows)} if rows else set()
        if len(inserted) < len(outcomes):
            self._keep_earlier([item for item in holds if item.request_id not in inserted], granted, outcomes, books)
        return outcomes

    def _decide(self, item: HoldItem, books: _Books) -> Granted | Refused:
        wallet = books.wallets.get(item.organization_id)
        available, budget_id = (wallet.available if wallet is not None else 0), None
        for number in item.budget_ids:
            budget = books.budgets.get(number)
            if budget is not None and budget.available < available:
                available, budget_id = budget.available, number
        amount = grant(available=available, minimum=item.minimum, want=item.want)
        if amount is None and item.want == 0:
            amount = 0  # what costs nothing is never refused for want of money
        return Granted(amount) if amount is not None else Refused(max(0, available), budget_id)

    def _keep_earlier(
        self,
        doubtful: Sequence[HoldItem],
        granted: dict[str, tuple[HoldItem, int]],
        outcomes: dict[str, Outcome],
        books: _Books,
    ) -> None:
        """In a replay of holds that had been committed after all, those stand, and money does not move again.

        What was refused only because they were counted twice is decided again.
        """
        rows = self._rows("hold_amounts", [{"request_id": item.request_id} for item in doubtful])
        earlier: dict[str, int] = dict(rows)
        for request_id, amount in earlier.items():
            outcomes[request_id] = Granted(amount)
            if request_id in granted:
                item, twice = granted[request_id]
                books.move(item.organization_id, item.budget_ids, held=-twice, spent=0)
        if earlier.keys() & granted.keys():
            refused = [item for item in doubtful if item.request_id not in earlier]
            outcomes.update(self._hold(refused, books))

    def _write_back(self, books: _Books) -> None:
        deltas = [{"id": number, "delta": w.delta} for number, w in sorted(books.wallets.items()) if w.delta]
        if deltas:
            self._write("move_held", deltas)
        if books.budgets:
            self._write(
                "move_budgets",
                [
                    {"id": number, "spent": b.spent, "held": b.held, "window_start": b.window_start}
                    for number, b in sorted(books.budgets.items())
                ],
            )


def _hold_row(item: HoldItem, amount: int) -> dict[str, object]:
    return {
        "request_id": item.request_id,
        "wallet_id": item.organization_id,
        "amount_nanos": amount,
        "captured": False,
        "lease_id": item.lease_id,
        "budget_ids": item.budget_ids,
        "api_key_id": item.api_key_id,
        "user_id": item.user_id,
        "model": item.model,
        "group": item.group,
        "endpoint": item.endpoint,
        "created_at": item.created_at,
    }
