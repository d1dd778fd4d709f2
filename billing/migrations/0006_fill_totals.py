"""Fills the columns that day totals gained in 0005 from the records: overruns, and times to the first byte.

The database sums them itself, in one statement. A charge that is not settled yet is left to its settlement.
"""

from django.db import migrations

DAY = {"postgresql": "(created_at AT TIME ZONE 'UTC')::date", "sqlite": "date(created_at)"}
NO_ATTEMPTS = {"postgresql": "'[]'::jsonb", "sqlite": "'[]'"}

FILL = """
UPDATE billing_daytotal SET
  overrun_nanos = found.overrun_nanos, overruns = found.overruns,
  first_byte_ms = found.first_byte_ms, timed = found.timed
FROM (
  SELECT {day} AS day, organization_id, model,
    COALESCE(api_key_id, 0) AS api_key_id, COALESCE(channel_id, 0) AS channel_id,
    SUM(overrun_nanos) AS overrun_nanos,
    SUM(CASE WHEN overrun_nanos > 0 THEN 1 ELSE 0 END) AS overruns,
    SUM(COALESCE(first_byte_ms, 0)) AS first_byte_ms,
    COUNT(first_byte_ms) AS timed
  FROM billing_usagerecord
  WHERE price_id IS NOT NULL AND status <> 'interrupted'
    AND (status NOT IN ('refused', 'cancelled') OR held_nanos <> 0 OR cost_nanos <> 0 OR attempts <> {no_attempts})
    AND NOT EXISTS (
      SELECT 1 FROM billing_hold WHERE billing_hold.request_id = billing_usagerecord.request_id AND captured
    )
  GROUP BY 1, 2, 3, 4, 5
) AS found
WHERE billing_daytotal.day = found.day AND billing_daytotal.organization_id = found.organization_id
  AND billing_daytotal.model = found.model AND billing_daytotal.api_key_id = found.api_key_id
  AND billing_daytotal.channel_id = found.channel_id
"""


def fill(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    if vendor == "postgresql":
        # A settlement that is under way has deleted its holds, but not added to the totals yet.
        schema_editor.execute("LOCK TABLE billing_daytotal IN EXCLUSIVE MODE")
    schema_editor.execute(FILL.format(day=DAY[vendor], no_attempts=NO_ATTEMPTS[vendor]), params=None)


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_console")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
