"""What each attempt says of its channel: noted in memory on the hot path, added to the tables by a thread.

Nothing here decides where requests go.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connections

from channels_app.health import Outcome, Tally, Verdict, record_outcomes
from relay.upstream.connections import UpstreamFailure

log = logging.getLogger(__name__)
FLUSH_SECONDS = 5.0
# Attempts that wait for the thread; the oldest are forgotten beyond, should it ever fall so far behind.
MOST_WAITING = 200_000
_GONE = (404, 410)


class Outcomes:
    """Attempts that were heard of and are not yet in the tables. One a process; any thread may add to it."""

    def __init__(self) -> None:
        self._heard: deque[Outcome] = deque(maxlen=MOST_WAITING)
        self._tallies: dict[int, Tally] = {}
        self._lock = threading.Lock()

    def add(self, channel_id: int, model: str, verdict: Verdict, outcome: str = "ok", milliseconds: int = 0) -> None:
        """Note one attempt that is over."""
        self._heard.append(Outcome(channel_id, model, verdict, outcome, milliseconds, time.time()))

    def flush(self) -> None:
        """Add everything to the tables. What cannot be added now is kept, as sums, for the next time."""
        with self._lock:
            for _ in range(len(self._heard)):
                heard = self._heard.popleft()
                self._tallies.setdefault(heard.channel_id, Tally()).add(heard)
            if not self._tallies:
                return
            try:
                record_outcomes(tallies=self._tallies)
            except Exception:
                for tally in self._tallies.values():
                    tally.forget_old()
                raise
            self._tallies = {}


# Of this process. The hot path has no other way here than an append.
outcomes = Outcomes()


def concluded(note: Mapping[str, Any], model: str) -> None:
    """Note an attempt as a record has it, whose answer was accepted and is over now, well or not."""
    verdict = Verdict.OK if note["outcome"] == "ok" else Verdict.FAILED
    outcomes.add(note["channel"], model, verdict, note["outcome"], note["ms"])


@contextmanager
def watched(channel_id: int, model: str) -> Iterator[None]:
    """Note what becomes of a call to a channel that is no attempt at a request, such as how far a video is."""
    started = time.monotonic()
    verdict, outcome = Verdict.OK, "ok"
    try:
        yield
    except UpstreamFailure as failure:
        # What is gone was there: that is an answer.
        verdict = Verdict.REFUSED if failure.status in _GONE else Verdict.FAILED
        outcome = failure.outcome
        raise
    except TimeoutError:
        verdict, outcome = Verdict.FAILED, "timeout"
        raise
    except BaseException:
        outcome = ""
        raise
    finally:
        if outcome:
            outcomes.add(channel_id, model, verdict, outcome, int((time.monotonic() - started) * 1000))


class Recorder:
    """A thread that flushes every few seconds, and once more when it is closed."""

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Flush what is left, and end. Blocks for a moment."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(FLUSH_SECONDS)
            try:
                outcomes.flush()
                self._failing = False
            except Exception as error:
                if not self._failing:
                    log.warning("the health of channels cannot be recorded now: %s", type(error).__name__)
                self._failing = True
            finally:
                connections.close_all()
