"""Counts of one process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relay.entry.limits.stores import CONCURRENT, CONCURRENT_WAIT_MS, TOKENS, WINDOW_MS, Check, State


@dataclass(slots=True)
class _Window:
    """Amounts by the millisecond they were counted at, the oldest first, and their sum."""

    entries: deque[list[int]] = field(default_factory=deque)
    total: int = 0

    def advance(self, now: int) -> None:
        while self.entries and self.entries[0][0] <= now - WINDOW_MS:
            self.total -= self.entries.popleft()[1]

    def add(self, now: int, amount: int) -> list[int]:
        entry = [now, amount]
        self.entries.append(entry)
        self.total += amount
        return entry

    def reset(self, now: int) -> int:
        return self.entries[-1][0] + WINDOW_MS - now if self.entries else 0

    def wait(self, now: int, limit: int, amount: int) -> int | None:
        if self.total + amount <= limit:
            return None
        left = self.total
        for at, part in self.entries:
            left -= part
            if left + amount <= limit:
                return at + WINDOW_MS - now
        return -1


class LocalStore:
    """Counts in this process, on the event loop alone: nothing comes between a check and its count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[Check, _Window] = {}
        self._open: dict[Check, int] = {}
        self._reserved: dict[tuple[str, Check], list[int]] = {}
        self._swept = 0

    def _now(self) -> int:
        return int(self._clock() * 1000)

    async def admit(self, request: str, checks: Sequence[Check], tokens: int) -> list[State]:
        """As `Store` says; it never waits."""
        now = self._now()
        self._sweep(now)
        states = [self._look(check, now, tokens) for check in checks]
        if any(state.wait_ms is not None for state in states):
            return states
        for check in checks:
            key = _unlimited(check)
            if check.kind == CONCURRENT:
                self._open[key] = self._open.get(key, 0) + 1
                continue
            entry = self._windows.setdefault(key, _Window()).add(now, tokens if check.kind == TOKENS else 1)
            if check.kind == TOKENS:
                self._reserved[request, key] = entry
        return [self._counted(check, now) for check in checks]

    def _look(self, check: Check, now: int, tokens: int) -> State:
        key = _unlimited(check)
        if check.kind == CONCURRENT:
            used = self._open.get(key, 0)
            return State(used, 0, None if used < check.limit else CONCURRENT_WAIT_MS)
        window = self._windows.get(key) or _Window()
        window.advance(now)
        return State(
            window.total, window.reset(now), window.wait(now, check.limit, tokens if check.kind == TOKENS else 1)
        )

    def _counted(self, check: Check, now: int) -> State:
        key = _unlimited(check)
        if check.kind == CONCURRENT:
            return State(self._open[key], 0, None)
        window = self._windows[key]
        return State(window.total, window.reset(now), None)

    def release(self, request: str, checks: Sequence[Check], reserved: int, used: int | None) -> None:
        """As `Store` says."""
        now = self._now()
        for check in checks:
            key = _unlimited(check)
            if check.kind == CONCURRENT:
                self._open[key] -= 1
                if not self._open[key]:
                    del self._open[key]
            elif check.kind == TOKENS:
                entry = self._reserved.pop((request, key))
                if used is None:
                    continue
                window = self._windows.setdefault(key, _Window())
                window.advance(now)
                if used > reserved:
                    window.add(now, used - reserved)
                elif entry[0] > now - WINDOW_MS:
                    entry[1] = used
                    window.total -= reserved - used

    def _sweep(self, now: int) -> None:
        """Once a minute, forget the windows in which nothing counts."""
        if now - self._swept < WINDOW_MS:
            return
        self._swept = now
        for key, window in list(self._windows.items()):
            window.advance(now)
            if not window.entries:
                del self._windows[key]


def _unlimited(check: Check) -> Check:
    """What is counted has the same name whatever its limit is: raising a limit forgets nothing."""
    return Check(check.kind, check.organization_id, check.owner, 0)
