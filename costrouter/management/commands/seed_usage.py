"""`manage.py seed_usage`: a made-up past for measurements. What it does is `costrouter.setup.past`."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.models import UsageRecord
from costrouter.setup.past import seed

MOST = 50_000_000


class Command(BaseCommand):
    help = (
        "Make up organizations, keys and requests with their money, fast: to measure how pages and reports do with "
        "many records. For a database that is thrown away afterwards: what is written cannot be told from the real "
        "thing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--records", type=int, default=1_000_000, help="How many requests. Default: 1,000,000.")
        parser.add_argument("--organizations", type=int, default=200, help="Of how many. Default: 200.")
        parser.add_argument("--days", type=int, default=90, help="Over the last days. Default: 90.")
        parser.add_argument("--force", action="store_true", help="Although the database has records already.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not (1 <= options["records"] <= MOST and options["organizations"] >= 1 and 1 <= options["days"] <= 3_000):
            raise CommandError("--records, --organizations and --days must be positive, --days at most 3,000.")
        if UsageRecord.objects.exists() and not options["force"]:
            raise CommandError("This database has usage records. Made-up ones are not added to them without --force.")
        began = time.monotonic()
        seed(
            records=options["records"],
            organizations=options["organizations"],
            days=options["days"],
            say=self.stdout.write,
        )
        self.stdout.write(f"in {time.monotonic() - began:.0f} s")
