"""Usage Logs as CSV that streams: a chunk of rows at a time, whatever their number. No transaction stays open."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import AsyncIterator, Iterable
from datetime import UTC
from typing import Any

from accounts.selectors import Reach
from billing.models import UsageRecord
from billing.reports.logs import LogFilter, key_names, user_names, walk
from costrouter.lib.money import nanos_to_usd
from costrouter.lib.units import UNITS
from relay.tasks import in_thread

CHUNK = 2_000
COLUMNS = (
    *("request_id", "time_utc", "api_key", "member", "endpoint", "model", "group", "status", "http_status"),
    *("error_code", "streamed", "estimated", *UNITS, "rate", "cost_usd", "first_byte_ms", "duration_ms"),
    *("client_ip", "client_request_id"),
)
# What a spreadsheet would take for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe(text: str) -> str:
    """A text that a spreadsheet shows as it is."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def line(row: UsageRecord, keys: dict[int, str], users: dict[int, str]) -> list[Any]:
    """A record as the cells of `COLUMNS`."""
    texts = (
        *(row.request_id, f"{row.created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"),
        *(keys.get(row.api_key_id or 0, ""), users.get(row.user_id or 0, "")),
        *(row.endpoint, row.model, row.group, row.status),
    )
    return [
        *(safe(text) for text in texts),
        row.http_status or "",
        safe(row.error_code),
        *("yes" if flag else "no" for flag in (row.streamed, row.estimated)),
        *(row.units.get(name, 0) for name in UNITS),
        f"{row.rate.normalize():f}",
        f"{nanos_to_usd(row.cost_nanos):f}",
        "" if row.first_byte_ms is None else row.first_byte_ms,
        "" if row.duration_ms is None else row.duration_ms,
        safe(row.client_ip),
        safe(row.client_request_id),
    ]


def written(rows: Iterable[list[Any]]) -> bytes:
    """Rows as CSV (RFC 4180)."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


async def stream(reach: Reach, chosen: LogFilter) -> AsyncIterator[bytes]:
    """Everything the filter lets through, the newest first; what arrives after the first chunk is left out.

    Each chunk is read in a thread of its own, and only once the one before it has gone to the client.
    """
    keys: dict[int, str] = {}
    users: dict[int, str] = {}
    before = ""

    def chunk() -> tuple[bytes, str | None]:
        rows, older = walk(reach, chosen, size=CHUNK, before=before)
        keys.update(key_names({row.api_key_id for row in rows if row.api_key_id} - keys.keys()))
        users.update(user_names({row.user_id for row in rows if row.user_id} - users.keys()))
        return written(line(row, keys, users) for row in rows), older

    yield b"\xef\xbb\xbf" + written([list(COLUMNS)])  # the mark by which spreadsheets know UTF-8
    while True:
        text, older = await in_thread(chunk)
        if text:
            yield text
        if older is None:
            return
        before = older


async def gzipped(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """One gzip member, in which every part can be read as soon as it is there.

    Django's middleware would make each part a member of its own, of which many clients read only the first.
    """
    packer = zlib.compressobj(level=1, wbits=31)
    async for part in parts:
        yield packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()
