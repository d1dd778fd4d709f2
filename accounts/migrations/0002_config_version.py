"""The one row that numbers every change of configuration."""

from django.db import migrations


def forwards(apps, schema_editor):
    apps.get_model("accounts", "ConfigVersion").objects.get_or_create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
