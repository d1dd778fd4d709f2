"""Waiting for what another thread or process does, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

DEADLINE = 10.0


def eventually(condition: Callable[[], Any], *, within: float = DEADLINE, what: str = "") -> Any:
    """Wait for a condition of another thread or process; its first true value. Fails loudly when time is up."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen within {within} s: {what or condition}")
        time.sleep(0.01)
