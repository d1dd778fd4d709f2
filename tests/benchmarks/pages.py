"""`make bench-pages`: every page, admin list and API list beside a million records: milliseconds and queries of each.

On a throw-away PostgreSQL, everything on one core. What counts is the processor's time, of Django and of the database
together: what a page takes on one core that does nothing else, however busy this machine is. Pages are found by walking
the URLconf and the admin's registry, so a new one is measured from its first day. Exit code 1 where a page is too slow,
asks too much, or fails.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

MOST_MS, MOST_QUERIES, TIMES = 200, 20, 5


@dataclass
class Row:
    """A page that was asked for `TIMES` times."""

    name: str
    url: str
    status: int
    queries: int
    busy: float
    in_database: float
    waited: float
    size: int

    @property
    def wrong(self) -> str:
        """What is wrong with it."""
        found = []
        if self.status >= 400:
            found.append(f"status {self.status}")
        if self.queries > MOST_QUERIES:
            found.append("queries")
        if self.busy > MOST_MS:
            found.append("slow")
        return ", ".join(found)


def main() -> int:
    """Make the database, fill it, look at everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="Only pages whose name or address has this in it.")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # the database, too: it is started below
    from tests.servers import postgres

    with postgres() as url, tempfile.TemporaryDirectory(prefix="costrouter-pages-") as folder:
        os.environ.update(DATABASE_URL=url, VAR_DIR=folder, DJANGO_SETTINGS_MODULE="costrouter.settings")
        os.environ["PGOPTIONS"] = "-c max_parallel_workers_per_gather=0"  # there is one core
        return _measure(options.records, options.only, Path(folder))


def _measure(records: int, only: str, folder: Path) -> int:
    from costrouter.serve import secretfile

    secretfile.main()
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", verbosity=0)
    call_command("seed_usage", records=records)
    from tests.benchmarks.pages_cast import cast

    people = cast()
    rows: list[Row] = []
    unknown: list[str] = []
    for name, url, client in people.pages(unknown):
        if only and only not in name and only not in url:
            continue
        row = _look(name, url, client)
        if row is not None:
            rows.append(row)
    connections.close_all()
    return _report(rows, unknown)


def _look(name: str, url: str, client: Any) -> Row | None:
    """A page's figures; None where it is no page: it takes a POST, or sends its reader elsewhere."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries, _quiet():
        answer = client.get(url)
        size = len(answer.getvalue())
    asked = len(queries)
    if answer.status_code in (301, 302, 405) or (answer.status_code in (403, 404) and ":" not in name):
        return None  # the library of sign-in has pages for those alone who have set something up
    waited, here, there = [], [], []
    for _ in range(TIMES):
        began, own, others = time.perf_counter(), time.process_time(), _database_seconds()
        with _quiet():
            client.get(url).getvalue()
        waited.append(time.perf_counter() - began)
        here.append(time.process_time() - own)
        there.append(_database_seconds() - others)
    busy = median(a + b for a, b in zip(here, there, strict=True))
    return Row(name, url, answer.status_code, asked, busy * 1000, median(there) * 1000, median(waited) * 1000, size)


def _database_seconds() -> float:
    """The processor's time that the database's process of our connection has taken so far."""
    from django.db import connection

    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Django logs every answer of 4xx; here they are in the table."""
    import logging

    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _report(rows: list[Row], unknown: list[str]) -> int:
    print(f"{'page':52} {'busy':>8} {'in SQL':>8} {'waited':>8} {'queries':>7} {'kB':>5}")
    for row in sorted(rows, key=lambda row: -row.busy):
        times = " ".join(f"{value:>5.0f} ms" for value in (row.busy, row.in_database, row.waited))
        line = f"{row.url[:52]:52} {times} {row.queries:>7} {row.size / 1000:>5.0f}"
        print(f"{line}  {row.wrong}".rstrip())
    if unknown:
        print("Not looked at, for want of a value: " + ", ".join(sorted(unknown)))
    wrong = [row for row in rows if row.wrong]
    print(f"{len(rows)} pages, {len(wrong)} over {MOST_MS} ms or {MOST_QUERIES} queries, or failing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
