"""`manage.py sandbox`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from costrouter.sandbox import __main__ as sandbox


class Command(BaseCommand):
    help = "Serve the sandbox upstream on loopback by itself. `manage.py up` starts one where a sandbox channel exists."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("port", type=int, help="The port on 127.0.0.1.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Base URL: http://127.0.0.1:{options['port']}/v1")
        sandbox.main([str(options["port"])])
