"""What the writer is asked to do, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from billing.writing.statements import Record


@dataclass(slots=True)
class HoldItem:
    """Ask for `want` nanos, or at least `minimum`, for a request of an organization.

    `seconds`: the hold stands by itself for so long (a task that outlives its process); None: as long as the process.
    """

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
    seconds: int | None = None


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
