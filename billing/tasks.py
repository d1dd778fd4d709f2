"""Celery tasks of the billing app. Each finds its work in the database; messages are only wake-ups."""

from __future__ import annotations

import logging

from celery import shared_task

from accounts.changes import prune_changes
from billing import reconciliation, settlement, totals
from billing import sweep as sweeping

log = logging.getLogger(__name__)


@shared_task
def settle() -> int:
    """Turn captured holds into ledger entries."""
    return settlement.settle()


@shared_task
def sweep() -> int:
    """Release the holds of dead web processes."""
    return sweeping.sweep()


@shared_task
def reconcile_nightly() -> int:
    """Check every invariant; each breach is an error in the log. Returns how many there are."""
    report = reconciliation.reconcile()
    for breach in report["breaches"]:
        log.error("reconcile: %s %s: expected %s, found %s", *breach.values())
    return int(report["breach_count"])


@shared_task
def check_totals_nightly() -> int:
    """Compare the day totals with the records; each difference is an error in the log. Returns how many there are."""
    count, first = totals.differences()
    for difference in first:
        log.error("day totals differ from the records: %s", difference)
    return count


@shared_task
def prune() -> int:
    """Forget what nobody reads any more: configuration changes older than a day."""
    return prune_changes()
