"""The ledger and the prices are append-only, whoever writes: the database refuses updates and deletes."""

from django.db import migrations

TABLES = ("billing_ledgerentry", "billing_price")

POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION costrouter_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$
"""


def statements(vendor):
    """(create, drop) statements of a database vendor."""
    if vendor == "postgresql":
        create = [POSTGRES_FUNCTION] + [
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION costrouter_append_only()"
            for table in TABLES
        ]
        drop = [f"DROP TRIGGER {table}_append_only ON {table}" for table in TABLES]
        return create, [*drop, "DROP FUNCTION costrouter_append_only()"]
    create, drop = [], []
    for table in TABLES:
        for action in ("update", "delete"):
            create.append(
                f"CREATE TRIGGER {table}_no_{action} BEFORE {action.upper()} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
            drop.append(f"DROP TRIGGER {table}_no_{action}")
    return create, drop


def forwards(apps, schema_editor):
    for statement in statements(schema_editor.connection.vendor)[0]:
        schema_editor.execute(statement, params=None)


def backwards(apps, schema_editor):
    for statement in statements(schema_editor.connection.vendor)[1]:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [migrations.RunPython(forwards, backwards)]
