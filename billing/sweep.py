"""The sweep: what a dead web process still held goes back to its wallet; its requests are recorded as interrupted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from billing import books
from billing.models import Hold, ProcessLease, UsageRecord, Wallet
from billing.writing import leases

LIMIT = 200


def sweep(*, everything: bool = False, alias: str = DEFAULT_DB_ALIAS) -> int:
    """Release the uncaptured holds of dead processes (`everything`: of live ones too). Returns how many.

    A capture that comes after all replaces the `interrupted` record and is charged as overrun.
    """
    mine = Hold.objects.using(alias).filter(captured=False) if everything else orphans(alias=alias)
    swept = 0
    passed = ""
    while True:
        holds = list(mine.filter(pk__gt=passed).order_by("pk")[:LIMIT])
        if not holds:
            break
        passed = holds[-1].pk
        swept += _release([hold.pk for hold in holds], {hold.wallet_id for hold in holds}, alias=alias)
    leases.forget_dead(alias=alias)
    return swept


def orphans(*, alias: str = DEFAULT_DB_ALIAS) -> QuerySet[Hold]:
    """Open holds whose process is dead, or whose own deadline has passed."""
    live = ProcessLease.objects.using(alias).filter(pk=OuterRef("lease_id"), expires_at__gt=Now())
    of_a_dead_process = Q(deadline__isnull=True) & ~Exists(live)
    return Hold.objects.using(alias).filter(of_a_dead_process | Q(deadline__lte=Now()), captured=False)


def _release(request_ids: Sequence[str], wallet_ids: set[int], *, alias: str) -> int:
    with transaction.atomic(using=alias):
        # The writer's order: wallets in id order, then holds, then budgets.
        wallets = Wallet.objects.using(alias).filter(pk__in=wallet_ids).order_by("pk")
        list(wallets.select_for_update())
        holds = {
            hold.pk: hold
            for hold in Hold.objects.using(alias).filter(pk__in=list(request_ids), captured=False).select_for_update()
        }
        existing = dict(UsageRecord.objects.using(alias).filter(pk__in=list(holds)).values_list("pk", "status"))
        # A hold whose request is recorded already is not ours to take, unless a sweep recorded it: then the hold was
        # made again by a process that had been asleep.
        interrupted = UsageRecord.Status.INTERRUPTED
        mine = [hold for hold in holds.values() if existing.get(hold.pk, interrupted) == interrupted]
        UsageRecord.objects.using(alias).bulk_create([_interrupted(hold) for hold in mine if hold.pk not in existing])
        Hold.objects.using(alias).filter(pk__in=[hold.pk for hold in mine]).delete()
        by_wallet: dict[int, int] = defaultdict(int)
        by_budget: dict[int, int] = defaultdict(int)
        for hold in mine:
            by_wallet[hold.wallet_id] += hold.amount_nanos
            for budget_id in hold.budget_ids:
                by_budget[budget_id] += hold.amount_nanos
        for wallet_id, amount in sorted(by_wallet.items()):
            books.release(wallet_id, amount, alias=alias)
        for budget_id, amount in sorted(by_budget.items()):
            books.release_budget(budget_id, amount, alias=alias)
    return len(mine)


def _interrupted(hold: Hold) -> UsageRecord:
    return UsageRecord(
        request_id=hold.pk,
        created_at=hold.created_at,
        organization_id=hold.wallet_id,
        user_id=hold.user_id,
        api_key_id=hold.api_key_id,
        endpoint=hold.endpoint,
        model=hold.model,
        group=hold.group,
        status=UsageRecord.Status.INTERRUPTED,
        held_nanos=hold.amount_nanos,
    )
