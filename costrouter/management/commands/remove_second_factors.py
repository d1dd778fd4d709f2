"""`manage.py remove_second_factors`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from accounts.services import remove_second_factors


class Command(BaseCommand):
    help = "Let somebody who lost phone, passkeys and recovery codes in with their password alone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="Whose.")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email__iexact=options["email"]).first()
        if user is None:
            raise CommandError(f"Nobody has the address {options['email']}.")
        self.stdout.write("removed" if remove_second_factors(users=[user]) else "there was none")
