"""The database's schema, brought up to date where it is not."""

from __future__ import annotations

from typing import IO

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from costrouter.serve.secretfile import make_var_dir


def is_migrated() -> bool:
    """Whether every migration has been applied."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def migrate(*, out: IO[str]) -> None:
    """Apply what has not been applied; say so on `out`. Two machines at once wait for each other on PostgreSQL."""
    if connection.vendor == "sqlite":
        make_var_dir(settings.VAR_DIR)
    if is_migrated():
        return
    out.write("Migrating the database …\n")
    if connection.vendor != "postgresql":
        call_command("migrate", verbosity=0, interactive=False, stdout=out)
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [0x436F7374])
    try:
        call_command("migrate", verbosity=0, interactive=False, stdout=out)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [0x436F7374])
