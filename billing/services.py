"""Writes of the billing app that people cause: credits, debits, limits, prices, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.changes import record_change
from accounts.models import ConfigChange, Organization, User
from billing import books
from billing.models import Budget, LedgerEntry, Price, Wallet
from billing.pricing.rates import prices_problem
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
    books.add_to_balance(wallet.pk, amount_nanos)
    return True


@transaction.atomic
def adjust(*, wallet: Wallet, amount_nanos: int, reason: str, actor: User, idempotency_key: str) -> bool:
    """An operator's credit (positive) or debit (negative), with a reason. False on a repeat of the same key."""
    if not reason.strip():
        raise ValidationError("Give a reason.")
    if amount_nanos == 0:
        raise ValidationError("The amount must not be zero.")
    kind = Kind.CREDIT if amount_nanos > 0 else Kind.DEBIT
    moved = add_entry(
        wallet=wallet,
        kind=kind,
        amount_nanos=amount_nanos,
        idempotency_key=idempotency_key,
        actor=actor,
        note=reason.strip(),
    )
    if moved:
        balance = Wallet.objects.values_list("balance_nanos", flat=True).get(pk=wallet.pk)
        _record_wallet(
            "wallet.moved",
            wallet,
            balance_nanos=(balance - amount_nanos, balance),
            reason=(None, reason.strip()),
        )
    return moved


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
    _record_wallet(
        "wallet.credit_limit",
        wallet,
        credit_limit_nanos=(locked.credit_limit_nanos, limit_nanos),
        reason=(None, reason.strip()),
    )
    return True


def _record_wallet(action: str, wallet: Wallet, **changes: tuple[object, object]) -> None:
    """An audit entry of a wallet, which goes by the name of its organization."""
    organization = wallet.organization
    audit.record(action, wallet, organization=organization, name=organization.name, changes=changes)


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
    before = _units_before(price)
    price.save(force_insert=True)
    audit.record("price.added", price, changes=audit.differences(before, _units(price)))
    record_change(ConfigChange.Kind.PRICE, model_name)
    return price


def _units_before(price: Price) -> dict[str, str]:
    """What the price that a new one replaces asked: unit → price, those of long contexts as `long context unit`."""
    earlier = Price.objects.filter(
        model_name=price.model_name, tier=price.tier, effective_from__lte=price.effective_from
    ).order_by("-effective_from", "-pk")
    found = earlier.first()
    return {} if found is None else _units(found)


def _units(price: Price) -> dict[str, str]:
    return {**price.units, **{f"long context {unit}": text for unit, text in price.long_context_units.items()}}


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
    is_new = budget.pk is None
    changes = (
        audit.given_fields(budget, "limit_nanos", "window")
        if is_new
        else audit.changed_fields(budget, leave_out=("spent_nanos", "held_nanos", "window_start"))
    )
    if budget.pk:
        # Never write back what the writer has moved since this row was loaded.
        budget.save(update_fields=["api_key", "user", "limit_nanos", "window"])
    else:
        budget.save()
    _notice_budget(budget)
    audit.record_saved("budget", budget, is_new=is_new, changes=changes, organization=budget.organization_id)
    return budget


@transaction.atomic
def delete_budget(*, budget: Budget) -> None:
    """Delete a budget; holds made under it are captured as usual."""
    audit.record("budget.deleted", budget, organization=budget.organization_id)
    budget.delete()
    _notice_budget(budget)


def _notice_budget(budget: Budget) -> None:
    record_change(ConfigChange.Kind.ORGANIZATION, budget.organization_id)
