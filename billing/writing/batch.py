"""One transaction of the writer: many captures, records and holds at once, on PostgreSQL and SQLite alike.

Rows travel as one JSON parameter that the database unpacks, so each statement's text is constant whatever the size of
the batch. Order within a batch: lock the wallets in id order, apply captures, insert refusals, decide holds in arrival
order, update each wallet once. Replaying a batch changes nothing: money moves only for rows that this transaction
itself inserted or updated.

On PostgreSQL statements are sent ahead of their results, so a transaction waits for the database twice: for what it
locks and captures, and for its commit. Each wait also gives up the interpreter lock to a busy event loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import msgspec

from billing import books
from billing.books import BookedBudget, BookedWallet, Books, open_window
from billing.writing.items import CaptureItem, Granted, HoldItem, Item, Outcome
from billing.writing.statements import Dialect, Record, statements

Row = tuple[Any, ...]
Rows = Callable[[], list[Row]]
# A NUL in JSON text, after any number of escaped backslashes.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


class Connection(Protocol):
    """What the batch needs of a database connection: DB-API, in autocommit mode. Only psycopg has a pipeline."""

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Any: ...

    def pipeline(self) -> AbstractContextManager[Any]: ...


class Batch:
    """Runs batches on one connection."""

    def __init__(self, connection: Connection, vendor: str) -> None:
        self.connection = connection
        self.dialect = Dialect(vendor)
        self.statements = {**statements(self.dialect), **books.statements(self.dialect)}
        self.encoder = msgspec.json.Encoder()

    def run(self, items: Sequence[Item], *, fresh: bool = False, now: datetime | None = None) -> list[Outcome]:
        """Apply all items in one transaction; the outcome of each, in order (None for captures and records).

        `fresh`: no hold among them was ever submitted before, so none needs to be looked for.
        """
        captures: dict[str, CaptureItem] = {}
        records: dict[str, Record] = {}
        holds: dict[str, HoldItem] = {}
        for item in items:  # a request is captured, recorded and held once, even where a batch names it twice
            if isinstance(item, HoldItem):
                holds.setdefault(item.request_id, item)
            elif isinstance(item, CaptureItem):
                captures.setdefault(item.record.request_id, item)
            else:
                records.setdefault(item.record.request_id, item.record)
        with self._transaction():
            outcomes = self._run(captures, records, holds, fresh=fresh, now=now or datetime.now(UTC))
        return [outcomes.get(item.request_id) if isinstance(item, HoldItem) else None for item in items]

    def _run(
        self,
        captures: dict[str, CaptureItem],
        records: dict[str, Record],
        holds: dict[str, HoldItem],
        *,
        fresh: bool,
        now: datetime,
    ) -> dict[str, Outcome]:
        # Sent ahead: the wallets' locks first, so that whatever follows is done under them.
        wallets = self._lock_wallets(captures, holds)
        self._find_unknown_holds(captures)
        captured = self._send_captures([item.record for item in captures.values()])
        earlier = self._send("hold_amounts", [{"request_id": key} for key in holds] if not fresh else [])
        budgets = self._lock_budgets(captures, holds)
        books = self._books(wallets, budgets, captures, now.date())
        self._apply(captures, captured(), books)
        if records:
            # Apart from the captures: the record of a request that held nothing must not touch a hold.
            self._send("insert_records", list(records.values()))
        outcomes = self._hold(holds, dict(earlier()), books, now)
        self._write_back(books)
        return outcomes

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction; on PostgreSQL in pipeline mode, where a statement is not waited for until it is read."""
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

    def _send(self, statement: str, rows: Sequence[object]) -> Rows:
        """Send a statement with its rows, none for none; a function that waits for what it returns."""
        if not rows:
            return list
        cursor = self.connection.execute(self.statements[statement], (self._json(rows),))
        if self.dialect.postgres:
            return lambda: list(cursor.fetchall())
        found: list[Row] = list(cursor.fetchall())  # SQLite works only while it is read
        return lambda: found

    def _json(self, rows: object) -> str:
        text = self.encoder.encode(rows).decode()
        # PostgreSQL stores no NUL, and a client may name one: in a model's name, say.
        return _NUL.sub(r"\g<1>\\ufffd", text) if "\\u0000" in text else text

    def _lock_wallets(self, captures: dict[str, CaptureItem], holds: dict[str, HoldItem]) -> Rows:
        numbers = {i.record.organization_id for i in captures.values()} | {i.organization_id for i in holds.values()}
        return self._send("lock_wallets", [{"id": number} for number in sorted(numbers)])

    def _lock_budgets(self, captures: dict[str, CaptureItem], holds: dict[str, HoldItem]) -> Rows:
        numbers = {number for item in captures.values() for number in item.budget_ids}
        numbers.update(number for item in holds.values() for number in item.budget_ids)
        return self._send("lock_budgets", [{"id": number} for number in sorted(numbers)])

    def _find_unknown_holds(self, captures: dict[str, CaptureItem]) -> None:
        """What was held for the captures that do not know it: a hold whose answer was lost on the way."""
        for item in captures.values():
            if item.granted is None:
                key = item.record.request_id
                row = self.connection.execute(self.statements["open_hold"], (key,)).fetchone()
                if row is not None:
                    item.granted = row[0]
                    item.budget_ids = tuple(msgspec.json.decode(row[1]) if isinstance(row[1], str) else row[1])

    def _books(self, wallets: Rows, budgets: Rows, captures: dict[str, CaptureItem], today: date) -> Books:
        """What the locked wallets and budgets have, now."""
        books = Books()
        self._enter_wallets(wallets(), books)
        charged = {item.record.organization_id for item in captures.values() if item.record.cost_nanos}
        if missing := [{"id": number} for number in sorted(charged - books.wallets.keys())]:
            # A charge needs a wallet, be it one that nobody has put money into.
            self._send("make_wallets", missing)
            self._enter_wallets(self._send("lock_wallets", missing)(), books)
        for number, limit, window, start, spent, held in budgets():
            start = date.fromisoformat(start) if isinstance(start, str) else start
            current = open_window(window, start, today)
            books.budgets[number] = BookedBudget(limit, current, spent if start == current else 0, held)
        return books

    def _enter_wallets(self, rows: list[Row], books: Books) -> None:
        for organization_id, balance, held, limit in rows:
            books.wallets[organization_id] = BookedWallet(available=balance + limit - held)

    def _send_captures(self, records: Sequence[Record]) -> Rows:
        """Insert records, and shrink the open holds of those that are new: (request id, whether its hold was there)."""
        if self.dialect.postgres:
            return self._send("insert_and_capture", records)
        inserted = [row[0] for row in self._send("insert_records", records)()]
        costs = {record.request_id: record.cost_nanos for record in records}
        charges = [{"request_id": key, "amount_nanos": costs[key]} for key in inserted]
        shrunk = {row[0] for row in self._send("capture_holds", charges)()}
        return lambda: [(key, key in shrunk) for key in inserted]

    def _apply(self, captures: dict[str, CaptureItem], captured: list[Row], books: Books) -> None:
        """Move the money of each capture that was new."""
        found: dict[str, bool] = dict(captured)
        for key, item in captures.items():
            if key not in found:
                self._replace_interrupted(item, books)
            elif found[key]:
                self._shrink(item, books)
            elif item.record.cost_nanos:
                self._charge_without_hold(item, books)

    def _shrink(self, item: CaptureItem, books: Books) -> None:
        cost = item.record.cost_nanos
        books.move(item.record.organization_id, item.budget_ids, held=cost - (item.granted or 0), spent=cost)

    def _replace_interrupted(self, item: CaptureItem, books: Books) -> None:
        """A capture after the sweep took the hold: its record replaces the `interrupted` one, all of it overrun.

        Where the record is of any other status, this is a replay, and nothing changes.
        """
        record = msgspec.structs.replace(item.record, overrun_nanos=item.record.cost_nanos)
        if not self._send("replace_interrupted", [record])():
            return
        # A hold that was committed, swept and then replayed is there again.
        if self._send("capture_holds", [{"request_id": record.request_id, "amount_nanos": record.cost_nanos}])():
            self._shrink(item, books)
        else:
            self._charge_without_hold(item, books)

    def _charge_without_hold(self, item: CaptureItem, books: Books) -> None:
        """Put a charge into the settlement queue for a request that has no hold any more."""
        record = item.record
        row = {
            "request_id": record.request_id,
            "wallet_id": record.organization_id,
            "amount_nanos": record.cost_nanos,
            "captured": True,
            "lease_id": None,
            "deadline": None,
            "budget_ids": [],
            "api_key_id": record.api_key_id,
            "user_id": record.user_id,
            "model": record.model,
            "group": record.group,
            "endpoint": record.endpoint,
            "created_at": record.created_at,
        }
        if self._send("insert_charge", [row])():
            cost = record.cost_nanos
            books.move(record.organization_id, (), held=cost, spent=0)
            # The sweep gave the budgets back what was held; only what was spent is missing there.
            for budget_id in item.budget_ids:
                if budget_id in books.budgets:
                    books.budgets[budget_id].spent += cost

    def _hold(
        self, holds: dict[str, HoldItem], earlier: dict[str, int], books: Books, now: datetime
    ) -> dict[str, Outcome]:
        """Decide holds in arrival order, each alone, and insert those that are granted.

        In a replay, a hold that had been committed after all stands: its money is in the wallet's `held` already.
        """
        outcomes: dict[str, Outcome] = {}
        rows = []
        for key, item in holds.items():
            if key in earlier:
                outcomes[key] = Granted(earlier[key])
                continue
            outcome = outcomes[key] = books.decide(item)
            if isinstance(outcome, Granted):
                books.move(item.organization_id, item.budget_ids, held=outcome.amount, spent=0)
                rows.append(self._hold_row(item, outcome.amount, now))
        self._send("insert_holds", rows)
        return outcomes

    def _write_back(self, books: Books) -> None:
        """Update each wallet and budget once."""
        moved = [{"id": number, "delta": w.delta} for number, w in sorted(books.wallets.items()) if w.delta]
        self._send("move_held", moved)
        self._send(
            "move_budgets",
            [
                {"id": number, "spent": b.spent, "held": b.held, "window_start": b.window_start}
                for number, b in sorted(books.budgets.items())
            ],
        )

    def _hold_row(self, item: HoldItem, amount: int, now: datetime) -> dict[str, object]:
        deadline = None if item.seconds is None else self.dialect.timestamp(now + timedelta(seconds=item.seconds))
        return {
            "request_id": item.request_id,
            "wallet_id": item.organization_id,
            "amount_nanos": amount,
            "captured": False,
            "lease_id": item.lease_id if deadline is None else None,
            "deadline": deadline,
            "budget_ids": item.budget_ids,
            "api_key_id": item.api_key_id,
            "user_id": item.user_id,
            "model": item.model,
            "group": item.group,
            "endpoint": item.endpoint,
            "created_at": item.created_at,
        }
