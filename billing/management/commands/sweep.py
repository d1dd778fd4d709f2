"""`manage.py sweep`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from billing.sweep import sweep


class Command(BaseCommand):
    help = "Release the uncaptured holds of dead web processes now, as the schedule does every ten seconds."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--all",
            action="store_true",
            help="those of live processes too: only while nothing is served, or a request that is under way is charged "
            "as overrun",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"swept {sweep(everything=options['all'])}")
