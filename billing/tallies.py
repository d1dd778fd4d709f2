"""Counts of refusals by key and minute, for a client that is refused more often than is worth recording."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import F

from billing.models import RefusalTally

_Row = tuple[int, int, datetime, str]


class Tallies:
    """Counts in memory until the writer takes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[_Row, int] = {}

    def add(self, *, api_key_id: int, organization_id: int, error_code: str) -> None:
        """Count one refusal, now."""
        minute = datetime.now(UTC).replace(second=0, microsecond=0)
        row = (api_key_id, organization_id, minute, error_code)
        with self._lock:
            self._counts[row] = self._counts.get(row, 0) + 1

    def take(self) -> dict[_Row, int]:
        """What was counted since the last call."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts

    def flush(self, *, alias: str = DEFAULT_DB_ALIAS) -> None:
        """Add what was counted to the table; where that fails, it is counted still."""
        counts = self.take()
        if not counts:
            return
        try:
            self.write(counts, alias=alias)
        except Exception:
            with self._lock:
                for row, count in counts.items():
                    self._counts[row] = self._counts.get(row, 0) + count
            raise

    @staticmethod
    def write(counts: dict[_Row, int], *, alias: str = DEFAULT_DB_ALIAS) -> None:
        """Add counts to the table."""
        with transaction.atomic(using=alias):
            for (api_key_id, organization_id, minute, error_code), count in sorted(counts.items()):
                row, _ = RefusalTally.objects.using(alias).get_or_create(
                    api_key_id=api_key_id,
                    minute=minute,
                    error_code=error_code,
                    defaults={"organization_id": organization_id},
                )
                RefusalTally.objects.using(alias).filter(pk=row.pk).update(count=F("count") + count)
