"""Everyone who could sign in before addresses were verified keeps doing so: their address counts as verified."""

from django.db import migrations


def verify(apps, schema_editor):
    User = apps.get_model("accounts", "User")
    EmailAddress = apps.get_model("account", "EmailAddress")
    taken = set(EmailAddress.objects.filter(verified=True).values_list("email", flat=True))
    have = set(EmailAddress.objects.values_list("user_id", flat=True))
    for user in User.objects.exclude(pk__in=have).order_by("pk").iterator():
        email = user.email.lower()
        if email in taken:
            continue  # two spellings of one address: the older account keeps it
        taken.add(email)
        EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
        if user.email != email and not User.objects.filter(email=email).exists():
            User.objects.filter(pk=user.pk).update(email=email)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_audit_append_only"),
        ("account", "0009_emailaddress_unique_primary_email"),
    ]

    operations = [migrations.RunPython(verify, migrations.RunPython.noop)]
