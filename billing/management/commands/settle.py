"""`manage.py settle`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from billing.settlement import settle


class Command(BaseCommand):
    help = "Settle every captured hold now, as the schedule does each second."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"settled {settle()}")
