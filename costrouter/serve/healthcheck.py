"""`python -m costrouter.healthcheck`: exits 0 where the web server on PORT is ready, else 1. For containers."""

from __future__ import annotations

import sys

from costrouter.env import load
from costrouter.serve.supervisor import is_ready


def main() -> None:
    """Exit 0 or 1."""
    sys.exit(not is_ready("127.0.0.1", load().values["PORT"]))
