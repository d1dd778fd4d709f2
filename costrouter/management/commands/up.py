"""`manage.py up`: migrates and serves. `serve.programs` says what, `serve.supervisor` keeps it running."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from costrouter.serve.database import migrate
from costrouter.serve.programs import PortTaken, check_port, clean_broker, make_plan


class Command(BaseCommand):
    help = (
        "Migrate and serve: the relay and the admin, the settlement worker and its schedule, and the sandbox upstream "
        "if a sandbox channel exists. Restarts what dies; SIGTERM or Ctrl-C stops all of it. Never creates or changes "
        "channels, keys or balances."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, help="The port to serve. Default: PORT.")
        parser.add_argument("--workers", type=int, help="Web processes. Default: WEB_WORKERS.")

    def handle(self, *args: Any, **options: Any) -> None:
        port = options["port"] if options["port"] is not None else settings.PORT
        workers = options["workers"] if options["workers"] is not None else settings.WEB_WORKERS
        if not 0 < port < 65536:
            raise CommandError("--port must be between 1 and 65535.")
        if workers < 1:
            raise CommandError("--workers must be at least 1.")
        try:
            check_port(host=settings.BIND, port=port)
        except PortTaken as error:
            raise CommandError(str(error)) from error
        migrate(out=self.stderr)  # type: ignore[arg-type]
        clean_broker()
        plan = make_plan(port=port, workers=workers)
        connection.close()
        self.stdout.flush()
        _become_supervisor(plan.to_json())


def _become_supervisor(plan: str) -> None:
    """Replace this process, which has all of Django loaded, by the small supervisor. It reads the plan on its stdin."""
    reading, writing = os.pipe()
    os.write(writing, plan.encode())
    os.close(writing)
    os.dup2(reading, 0)
    os.close(reading)
    os.chdir(settings.BASE_DIR)
    os.execv(sys.executable, [sys.executable, "-m", "costrouter.serve.supervisor"])  # noqa: S606
