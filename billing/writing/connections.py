"""Connections that batches run on: the writer's, and one for what has no web process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.utils import InterfaceError, OperationalError

from billing.writing.batch import Batch
from billing.writing.items import CaptureItem

# How long a transaction waits for another's lock before it is replayed: holds must hear of it within HOLD_PATIENCE.
LOCK_PATIENCE_MS = 1_000


def server_cursor() -> Any:
    import psycopg

    return psycopg.Cursor


def batch_on(connection: Any) -> Batch:
    """A batch on a connection of Django's, which is good for nothing else from then on."""
    connection.ensure_connection()
    raw = connection.connection
    if connection.vendor == "postgresql":
        # Django's own cursor binds on the client; the writer's constant statements are worth preparing.
        raw.prepare_threshold = 5
        raw.cursor_factory = server_cursor()
        raw.execute(f"SET lock_timeout = {LOCK_PATIENCE_MS}")
    else:
        raw.execute(f"PRAGMA busy_timeout = {LOCK_PATIENCE_MS}")
    return Batch(raw, connection.vendor)


def capture_now(items: Sequence[CaptureItem], *, alias: str = DEFAULT_DB_ALIAS) -> None:
    """Record and charge what has no web process (a task that a worker saw end), on a connection of its own.

    Twice, or at the same time as a web process, changes nothing. Raises what the database raises; try again then.
    """
    connection: Any = connections[alias].copy(alias)
    try:
        batch_on(connection).run(items)
    finally:
        connection.close()


# Of the drivers, whose classes differ. A server that was demoted to a standby is read-only until we reconnect.
_CONNECTION_TROUBLE = frozenset(("OperationalError", "InterfaceError", "ReadOnlySqlTransaction"))


def is_connection_trouble(error: Exception) -> bool:
    """Whether to replay the whole batch: the connection was lost, the database is busy, or a deadlock chose us."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return any(base.__name__ in _CONNECTION_TROUBLE for base in type(error).__mro__)
