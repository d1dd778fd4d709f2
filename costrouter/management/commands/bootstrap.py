"""`manage.py bootstrap`: sets up an installation from a script. What it does is `costrouter.setup.bootstrap`."""

from __future__ import annotations

import argparse
import json
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channels_app.models import Provider
from costrouter.lib.presets import PRESETS
from costrouter.lib.units import UNITS
from costrouter.lib.upstreams import DIALECTS
from costrouter.serve.database import migrate
from costrouter.setup.bootstrap import CannotBootstrap, Result, Upstream, bootstrap, sandbox_upstream
from costrouter.setup.demo import demo, key_file, password_file


def price(text: str) -> tuple[str, Decimal]:
    """A unit and its price on the command line: `images=0.04`."""
    unit, _, amount = text.partition("=")
    if unit not in UNITS:
        raise argparse.ArgumentTypeError(f"{unit!r} is no unit: {', '.join(UNITS)}")
    return unit, usd(amount)


def names(text: str) -> tuple[str, ...]:
    """A list on the command line, comma separated, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def usd(text: str) -> Decimal:
    """An amount of dollars on the command line."""
    try:
        amount = Decimal(text)
    except ArithmeticError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not amount.is_finite():
        raise argparse.ArgumentTypeError("must be a finite number")
    return amount


class Command(BaseCommand):
    help = (
        "Make what is missing: administrator, organization, channel, models, prices, opening credit. Every call gives "
        "a new API key of the same organization; earlier ones stay valid. With neither --upstream-url nor --provider "
        "the channel is the built-in sandbox. The channel is enabled and in the group `default` afterwards, so that "
        "the key reaches it, whatever it was before."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        providers = [name for name in Provider.values if name != Provider.SANDBOX]
        parser.add_argument("--json", action="store_true", help="Print one JSON object and nothing else.")
        parser.add_argument(
            "--upstream-url",
            default="",
            help="What the provider's own SDK takes as its base URL. Default: that of the provider's own service.",
        )
        parser.add_argument(
            "--upstream-key",
            help="The provider's key, for Vertex AI a service account's JSON. Replaces that of an existing channel; "
            "without --models, of every channel of this provider and URL.",
        )
        parser.add_argument("--provider", choices=providers, default=None, help="Default: openai_compatible.")
        parser.add_argument("--preset", choices=PRESETS, help="A well-known OpenAI-compatible service: gives the URL.")
        parser.add_argument(
            "--dialects",
            type=names,
            default=(),
            help=f"What conversations the upstream is asked in, the best first: of {', '.join(DIALECTS)}. "
            "Default: the provider's.",
        )
        parser.add_argument(
            "--models",
            type=names,
            default=(),
            help="Names, comma separated. Unless a channel of this provider, URL and dialects serves them all, a "
            "new channel does.",
        )
        parser.add_argument("--balance", type=usd, metavar="USD", help="The opening credit, once a wallet.")
        parser.add_argument("--price-input", type=usd, metavar="USD", help="Per million input tokens.")
        parser.add_argument("--price-output", type=usd, metavar="USD", help="Per million output tokens.")
        parser.add_argument(
            "--price",
            type=price,
            action="append",
            default=[],
            metavar="UNIT=USD",
            help=f"The price of any unit, repeatable: per million tokens, per 1,000 characters, else each. "
            f"Units: {', '.join(UNITS)}.",
        )
        parser.add_argument("--demo", action="store_true", help="The first start of `make run`, done once.")

    def handle(self, *args: Any, **options: Any) -> None:
        migrate(out=self.stderr)  # type: ignore[arg-type]
        if options["demo"]:
            self._demo(demo())
            return
        try:
            result = bootstrap(upstream=self._upstream(options), balance=options["balance"])
        except CannotBootstrap as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(result.as_dict()))
        else:
            self._tell(result)

    def _upstream(self, options: dict[str, Any]) -> Upstream:
        url, provider, preset = options["upstream_url"], options["provider"], PRESETS.get(options["preset"] or "")
        if preset is not None and (url or provider not in (None, Provider.OPENAI_COMPATIBLE)):
            raise CannotBootstrap("--preset is an openai_compatible provider's URL: give neither another")
        if not url and provider is None and preset is None:
            for option in ("upstream_key", "models", "dialects", "price_input", "price_output", "price"):
                if options[option]:
                    raise CannotBootstrap(f"--{option.replace('_', '-')} needs --upstream-url")
            return sandbox_upstream()
        return Upstream(
            provider=provider or Provider.OPENAI_COMPATIBLE,
            base_url=preset.base_url if preset is not None else url,
            key=options["upstream_key"],
            models=options["models"],
            dialects=options["dialects"],
            price_input=options["price_input"],
            price_output=options["price_output"],
            prices=dict(options["price"]),
        )

    def _tell(self, result: Result) -> None:
        found = result.as_dict()
        self.stdout.write(f"Administrator  {found['admin']['username']}")
        self.stdout.write(f"Password       {result.admin_password or '(as it was)'}")
        self.stdout.write(f"Organization   {found['organization']['name']}, balance {found['balance_usd']} USD")
        self.stdout.write(f"Channel        {found['channel']['name']}: {', '.join(found['channel']['models'])}")
        self.stdout.write(f"API key        {result.api_key}  (shown once)")
        if result.unpriced:
            self.stdout.write(f"Without a price, so refused: {', '.join(result.unpriced)}")

    def _demo(self, result: Result | None) -> None:
        if result is not None:
            self.stdout.write(f"First start: an API key with {result.as_dict()['balance_usd']} USD is in {key_file()}")
            if result.admin_password:
                self.stdout.write(f"The password of {result.admin.email} is in {password_file()}")
