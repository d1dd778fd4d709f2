"""The audit log is append-only, whoever writes: the database refuses updates and deletes."""

from django.db import migrations

TABLE = "accounts_auditentry"

POSTGRES = (
    """
    CREATE OR REPLACE FUNCTION costrouter_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$
    """,
    f"CREATE TRIGGER {TABLE}_append_only BEFORE UPDATE OR DELETE ON {TABLE} "
    "FOR EACH ROW EXECUTE FUNCTION costrouter_audit_append_only()",
)
SQLITE = tuple(
    f"CREATE TRIGGER {TABLE}_no_{action} BEFORE {action.upper()} ON {TABLE} "
    f"BEGIN SELECT RAISE(ABORT, '{TABLE} is append-only'); END"
    for action in ("update", "delete")
)


def statements(vendor):
    """(create, drop) statements of a database vendor."""
    if vendor == "postgresql":
        drop = [f"DROP TRIGGER {TABLE}_append_only ON {TABLE}", "DROP FUNCTION costrouter_audit_append_only()"]
        return list(POSTGRES), drop
    return list(SQLITE), [f"DROP TRIGGER {TABLE}_no_{action}" for action in ("update", "delete")]


def forwards(apps, schema_editor):
    for statement in statements(schema_editor.connection.vendor)[0]:
        schema_editor.execute(statement, params=None)


def backwards(apps, schema_editor):
    for statement in statements(schema_editor.connection.vendor)[1]:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_console")]
    operations = [migrations.RunPython(forwards, backwards)]
