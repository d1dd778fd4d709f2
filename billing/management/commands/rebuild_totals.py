from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from billing.settlement import rebuild_totals


class Command(BaseCommand):
    help = (
        "Make the day totals anew from the usage records, in one transaction. Settlement waits meanwhile; on SQLite "
        "every request does."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"rebuilt {rebuild_totals()}")
