"""`manage.py seed_prices`: list prices from the genai-prices data. What it does is `costrouter.setup.prices`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costrouter.setup.prices import DEFAULT_PROVIDERS, Report, seed


class Command(BaseCommand):
    help = (
        "Append list prices from the genai-prices package where they differ from those in force. Never changes a price "
        "that you entered. What cannot be said exactly is left out and listed with the reason."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--provider",
            help=f"Providers of genai-prices, separated by commas. Default: {','.join(DEFAULT_PROVIDERS)}.",
        )
        which.add_argument("--all", action="store_true", help="All providers that the data know, hosts too.")
        parser.add_argument(
            "--model", nargs="+", action="extend", metavar="NAME", help="Only these models, as clients name them."
        )
        parser.add_argument("--catalogue", action="store_true", help="Also make missing catalogue entries.")
        parser.add_argument(
            "--peak", action="store_true", help="Where a price depends on the time of day, seed the dearest."
        )
        parser.add_argument(
            "--overwrite-operator", action="store_true", help="Follow prices that you entered by the data's, too."
        )
        parser.add_argument("--dry-run", action="store_true", help="Say what would be appended, and append nothing.")
        parser.add_argument("--json", action="store_true", help="Print the report as JSON.")

    def handle(self, **options: Any) -> None:
        providers: list[str] | None = list(DEFAULT_PROVIDERS)
        if options["all"]:
            providers = None
        elif options["provider"] is not None:
            providers = [name.strip() for name in options["provider"].split(",") if name.strip()]
        try:
            report = seed(
                providers=providers,
                models=options["model"],
                catalogue=options["catalogue"],
                peak=options["peak"],
                overwrite_operator=options["overwrite_operator"],
                dry_run=options["dry_run"],
            )
        except ValueError as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict(), indent=2))
        else:
            self._print(report)
        done = {price.model for price in report.appended} | {remark.model for remark in report.protected}
        done.update(report.unchanged)
        missing = [name for name in options["model"] or () if name not in done]
        if missing:
            raise CommandError(f"Without a price: {', '.join(missing)}")

    def _print(self, report: Report) -> None:
        for price in report.appended:
            amounts = " ".join(f"{unit}={usd}" for unit, usd in price.units.items())
            if price.long_context_above is not None:
                long = " ".join(f"{unit}={usd}" for unit, usd in price.long_context_units.items())
                amounts += f" | above {price.long_context_above}: {long}"
            start = f" from {price.effective_from}" if price.effective_from else ""
            self.stdout.write(f"+ {price.model} [{price.tier}]{start}: {amounts}")
        for remark in report.protected:
            self.stdout.write(f"= {remark.model} [{remark.tier}]: {remark.text}")
        same: dict[str, dict[str, None]] = {}
        for remark in report.left_out:
            same.setdefault(remark.text, {})[remark.model] = None
        for text, models in same.items():
            self.stdout.write(f"! {text}: {', '.join(models)}")
        for skipped in report.skipped:
            self.stdout.write(
                f"- {skipped.name}{f' ({skipped.provider})' if skipped.provider else ''}: {skipped.reason}"
            )
        would = "would append" if report.dry_run else "appended"
        theirs = len({remark.model for remark in report.protected})
        self.stdout.write(
            f"genai-prices {report.genai_prices}: {would} {len(report.appended)} prices; "
            f"{len(report.unchanged)} models unchanged, {theirs} priced by you, {len(report.skipped)} skipped, "
            f"{len(report.catalogue)} catalogue entries."
        )
