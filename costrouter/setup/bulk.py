"""Many rows at once, past the ORM: COPY on PostgreSQL, batches elsewhere. For made-up data, not for the product."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from django.db import connection, models

BATCH = 5_000


def insert(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Insert rows of plain values (JSON as text, times in ISO format) in the transaction under way. Returns how many.

    Texts must not hold tabs, newlines or backslashes: nothing is escaped.
    """
    table = model._meta.db_table
    names = ", ".join(f'"{name}"' for name in columns)
    count = 0
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for batch in _batches(rows):
                copy.write("".join("\t".join(map(_text, row)) + "\n" for row in batch))
                count += len(batch)
        return count
    marks = ", ".join(["%s"] * len(columns))
    with connection.cursor() as cursor:
        for batch in _batches(rows):
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", batch)  # noqa: S608
            count += len(batch)
    return count


def _batches(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    left = iter(rows)
    while batch := list(islice(left, BATCH)):
        yield batch


def _text(value: Any) -> str:
    return "\\N" if value is None else str(value)
