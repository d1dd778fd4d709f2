"""Writes of the billing app that people cause: credits, debits, limits, prices, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.changes import record_change
from accounts.models import ConfigChange, Organization, User
from billing.models import Budget, LedgerEntry, Price, Wallet
from billing.pricing import prices_problem
from costrouter.lib.money import MAX_NANOS

Kind = LedgerEntry.Kind


def wallet_of(*, organization: Organization) -> Wallet:
    """The organization's wallet, made when first asked for."""
    return Wallet.objects.get_or_create(organization=organization)[0]


@transaction.atomic
def add_entry(
    *, wallet: Wallet, kind: str, amount_nanos: int, idempotency_key: str, actor: User | None = None, note: str = ""
) -> bool:
    """Move a wallet's balance by a signed amount, once per key. False where the key was used before: nothing moved."""
    if abs(amount_nanos) > MAX_NANOS:
        raise ValidationError("That is more than a wallet can hold.")
    locked = Wallet.objects.select_for_update().get(pk=wallet.pk)
    if LedgerEntry.objects.filter(idempotency_key=idempotency_key).exists():
        return False
    if abs(locked.balance_nanos + amount_nanos) > 2 * MAX_NANOS:
        raise ValidationError("That is more than a wallet can hold.")
    LedgerEntry.objects.create(
        wallet=locked, kind=kind, amount_nanos=amount_nanos, idempotency_key=idempotency_key, actor=actor, note=note
    )
    Wallet.objects.filter(pk=wallet.pk).update(balance_nanos=F("balance_nanos") + amount_nanos)
    return True


def adjust(*, wallet: Wallet, amount_nanos: int, reason: str, actor: User, idempotency_key: str) -> bool:
    """An operator's credit (positive) or debit (negative), with a reason. False on a repeat of the same key."""
    if not reason.strip():
        raise ValidationError("Give a reason.")
    if amount_nanos == 0:
        raise ValidationError("The amount must not be zero.")
    kind = Kind.CREDIT if amount_nanos > 0 else Kind.DEBIT
    return add_entry(
        wallet=wallet,
        kind=kind,
        amount_nanos=amount_nanos,
        idempotency_key=idempotency_key,
        actor=actor,
        note=reason.strip(),
    )


@transaction.atomic
def set_credit_limit(*, wallet: Wallet, limit_nanos: int, actor: User, reason: str, idempotency_key: str) -> bool:
    """Let a wallet go below zero by up to `limit_nanos`. The change is in the ledger, with an amount of 0."""
    if not 0 <= limit_nanos <= MAX_NANOS:
        raise ValidationError("The credit limit must be between 0 and 2,000,000,000 USD.")
    if not reason.strip():
        raise ValidationError("Give a reason.")
    locked = Wallet.objects.select_for_update().get(pk=wallet.pk)
    change = limit_nanos - locked.credit_limit_nanos
    if change == 0 or LedgerEntry.objects.filter(idempotency_key=idempotency_key).exists():
        return False
    LedgerEntry.objects.create(
        wallet=locked,
        kind=Kind.CREDIT_LIMIT,
        amount_nanos=0,
        limit_change_nanos=change,
        idempotency_key=idempotency_key,
        actor=actor,
        note=reason.strip(),
    )
    Wallet.objects.filter(pk=wallet.pk).update(credit_limit_nanos=limit_nanos)
    return True


@transaction.atomic
def append_price(
    *,
    model_name: str,
    units: Mapping[str, str | Decimal],
    tier: str = Price.STANDARD,
    long_context_above: int | None = None,
    long_context_units: Mapping[str, str | Decimal] | None = None,
    effective_from: datetime | None = None,
    source: str = "operator",
    note: str = "",
    actor: User | None = None,
) -> Price:
    """A new dated price; requests held before `effective_from` keep the earlier one. Raises ValidationError."""
    texts = {name: f"{Decimal(str(value)):f}" for name, value in units.items()} if not prices_problem(units) else units
    long_texts = dict(long_context_units or {})
    for problem in (prices_problem(texts), prices_problem(long_texts)):
        if problem:
            raise ValidationError({"units": problem})
    now = timezone.now()
    if effective_from is not None and effective_from < now:
        raise ValidationError({"effective_from": "A price cannot take effect in the past."})
    price = Price(
        model_name=model_name,
        tier=tier,
        units=texts,
        long_context_above=long_context_above,
        long_context_units={name: f"{Decimal(str(value)):f}" for name, value in long_texts.items()},
        effective_from=effective_from or now,
        source=source,
        note=note,
        created_by=actor,
    )
    price.full_clean(exclude=["long_context_units"])
    price.save(force_insert=True)
    record_change(ConfigChange.Kind.PRICE, model_name)
    return price


@transaction.atomic
def save_budget(*, budget: Budget) -> Budget:
    """Save a new or edited budget; the keys it concerns notice within a second. Its organization stays.

    Raises ValidationError.
    """
    if budget.pk and not Budget.objects.filter(pk=budget.pk, organization=budget.organization_id).exists():
        raise ValidationError({"organization": "A budget stays with its organization: make another one."})
    if budget.limit_nanos < 0:
        raise ValidationError({"limit_nanos": "The limit must not be negative."})
    if budget.api_key is not None and budget.api_key.organization_id != budget.organization_id:
        raise ValidationError({"api_key": "This key belongs to another organization."})
    if budget.user is not None and not budget.user.memberships.filter(organization=budget.organization).exists():
        raise ValidationError({"user": "This user is not a member of the organization."})
    budget.full_clean()
    if budget.pk:
        # Never write back what the writer has moved since this row was loaded.
        budget.save(update_fields=["api_key", "user", "limit_nanos", "window"])
    else:
        budget.save()
    _notice_budget(budget)
    return budget


@transaction.atomic
def delete_budget(*, budget: Budget) -> None:
    """Delete a budget; holds made under it are captured as usual."""
    budget.delete()
    _notice_budget(budget)


def _notice_budget(budget: Budget) -> None:
    record_change(ConfigChange.Kind.ORGANIZATION, budget.organization_id)
