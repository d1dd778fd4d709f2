"""Prices and catalogue entries from the `genai-prices` data: `billing.pricing` decide, this reads and writes.

Seeding twice appends nothing the second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from genai_prices.types import Provider

from accounts.models import ConfigVersion
from billing.models import Price
from billing.pricing.choice import Choice, Skipped, choose_all, choose_named, pick_providers
from billing.pricing.plan import Dated, Plan, plan_model
from billing.pricing.seed import STANDARD, SeedPrice
from billing.services import append_price
from channels_app.models import CatalogueModel
from channels_app.services import save_model

SOURCE = "genai-prices"
# The makers that people mean by a model's name. Hosts of others' models (groq, together, openrouter, …) are left to be
# named: our price is per model, whoever serves it, and theirs differ.
DEFAULT_PROVIDERS = ("openai", "anthropic", "google", "mistral", "deepseek", "x-ai")


@dataclass(frozen=True, slots=True)
class Appended:
    """A price that was appended, or would be: decimal texts, USD per the unit's `per`. `effective_from` None: now."""

    model: str
    tier: str
    effective_from: str | None
    units: dict[str, str]
    long_context_above: int | None
    long_context_units: dict[str, str]


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to know about a model: which tier, or "" for all, and what."""

    model: str
    tier: str
    text: str


@dataclass(slots=True)
class Report:
    """What a seeding did, by model. `unchanged`: nothing to append. `protected`: the price in force is not ours.

    `left_out`: what the seeded prices do not say. `skipped`: models, or tiers, without a price, and why.
    """

    genai_prices: str
    dry_run: bool
    appended: list[Appended] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    protected: list[Remark] = field(default_factory=list)
    left_out: list[Remark] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    catalogue: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        return asdict(self)


def seed(
    *,
    providers: Iterable[str] | None = DEFAULT_PROVIDERS,
    models: Iterable[str] | None = None,
    catalogue: bool = False,
    peak: bool = False,
    overwrite_operator: bool = False,
    dry_run: bool = False,
    data: Sequence[Provider] | None = None,
) -> Report:
    """Append the data's prices where they differ from those in force, in one short transaction a model.

    `providers`: ids of genai-prices; None is all of them. `models`: names as clients send them; None is every current
    model. `catalogue`: also make the missing catalogue entries. `peak`: where a price depends on the time of day, seed
    the dearest. A price that was not seeded stays unless `overwrite_operator`. `data`: instead of the package's own.
    Raises ValueError for an unknown provider.
    """
    if data is None:
        from genai_prices import data as package  # several MB that nothing else needs

        data = package.providers
    selected = pick_providers(data, providers)
    choices, skipped = choose_all(selected) if models is None else choose_named(selected, models)
    report = Report(genai_prices=version(SOURCE), dry_run=dry_run, skipped=skipped)
    existing = _existing([choice.name for choice in choices])
    for choice in choices:
        plan = _plan(choice, existing.get(choice.name, []), peak, overwrite_operator)
        if plan.steps and not dry_run:
            try:
                plan = _append(choice, peak, overwrite_operator)
            except ValidationError as error:
                plan = Plan(skipped=[("", "; ".join(error.messages))])
        _report(report, choice, plan)
        if catalogue and plan.priced:
            _enter(choice, report)
    return report


def _existing(names: Iterable[str]) -> dict[str, list[Dated]]:
    """The prices of these models, in the order in which they were appended."""
    found: dict[str, list[Dated]] = {}
    for row in Price.objects.filter(model_name__in=names).order_by("id"):
        long_units = {name: Decimal(value) for name, value in row.long_context_units.items()}
        units = {name: Decimal(value) for name, value in row.units.items()}
        price = SeedPrice(units, row.long_context_above, long_units)
        found.setdefault(row.model_name, []).append(
            Dated(row.tier, row.effective_from, price, ours=row.source == SOURCE)
        )
    return found


def _plan(choice: Choice, existing: list[Dated], peak: bool, overwrite: bool) -> Plan:
    return plan_model(choice.model, existing, now=timezone.now(), peak=peak, overwrite=overwrite)


@transaction.atomic
def _append(choice: Choice, peak: bool, overwrite: bool) -> Plan:
    # Every change of a price updates this row, so two seedings at once do not append the same price twice.
    list(ConfigVersion.objects.select_for_update().filter(pk=1))
    plan = _plan(choice, _existing([choice.name]).get(choice.name, []), peak, overwrite)
    for step in plan.steps:
        note = "; without ".join(
            [f"{SOURCE} {version(SOURCE)}: {choice.provider.id}/{choice.model.id}", *step.price.left_out]
        )
        append_price(
            model_name=choice.name,
            tier=step.tier,
            units=step.price.units,
            long_context_above=step.price.long_above,
            long_context_units=step.price.long_units,
            effective_from=step.start if step.start > timezone.now() else None,
            source=SOURCE,
            note=note[:200],
        )
    return plan


def _report(report: Report, choice: Choice, plan: Plan) -> None:
    now = timezone.now()
    for step in plan.steps:
        report.appended.append(
            Appended(
                model=choice.name,
                tier=step.tier,
                effective_from=step.start.isoformat() if step.start > now else None,
                units={name: f"{usd:f}" for name, usd in step.price.units.items()},
                long_context_above=step.price.long_above,
                long_context_units={name: f"{usd:f}" for name, usd in step.price.long_units.items()},
            )
        )
    report.protected += [Remark(choice.name, tier, text) for tier, text in plan.protected]
    report.left_out += [Remark(choice.name, tier, text) for tier, text in plan.left_out]
    for tier, text in plan.skipped:
        report.skipped.append(
            Skipped(choice.name, choice.provider.id, text if tier in ("", STANDARD) else f"{tier}: {text}")
        )
    if plan.priced and not plan.steps and not plan.protected:
        report.unchanged.append(choice.name)


def _enter(choice: Choice, report: Report) -> None:
    """Make the model's catalogue entry where there is none. What the data do not know (vision, output) stays empty."""
    if CatalogueModel.objects.filter(name=choice.name).exists():
        return
    if not report.dry_run:
        try:
            save_model(
                model=CatalogueModel(
                    name=choice.name,
                    display_name=(choice.model.name or "")[:150],
                    owned_by=choice.provider.name,
                    context_window=choice.model.context_window,
                )
            )
        except ValidationError as error:
            report.skipped.append(Skipped(choice.name, choice.provider.id, "; ".join(error.messages)))
            return
    report.catalogue.append(choice.name)
