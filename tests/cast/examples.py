"""How many examples a property is tried on: few in `make test`, fifty times as many in `make test-long`."""

from __future__ import annotations

import os

MORE = 50 if os.environ.get("TEST_LONG") else 1


def examples(few: int) -> int:
    """A count for hypothesis' `max_examples`."""
    return few * MORE
