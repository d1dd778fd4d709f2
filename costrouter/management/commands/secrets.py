"""`manage.py secrets`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from costrouter.serve import secretfile


class Command(BaseCommand):
    help = "Generate the secrets that neither the environment nor VAR_DIR/secrets.env has."
    # It runs before there are any, and the checks would refuse to.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        secretfile.main()
