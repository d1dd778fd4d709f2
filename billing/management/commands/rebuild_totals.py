"""`manage.py rebuild_totals`."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from billing.totals import differences, rebuild_totals


class Command(BaseCommand):
    help = (
        "Make the day totals anew from the usage records, in one transaction. Settlement waits meanwhile; on SQLite "
        "every request does. With --check nothing is written and nobody waits."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="print where stored totals differ from the records, as JSON; exit 1"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options.get("check"):
            self.stdout.write(f"rebuilt {rebuild_totals()}")
            return
        count, first = differences()
        self.stdout.write(json.dumps({"difference_count": count, "differences": first}))
        if count:
            sys.exit(1)
