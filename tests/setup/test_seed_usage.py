"""A made-up past keeps every promise of the money, and is not added to a real one."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from billing.models import DayTotal, LedgerEntry, UsageRecord, Wallet
from billing.reconciliation import reconcile
from billing.reports.usage import EVERYBODY, last_days, totals
from billing.totals import differences
from costrouter.console.periods import today_utc
from tests.cast.admin import acme, record


def seed_usage(*arguments: str) -> None:
    call_command("seed_usage", "--records", "3000", "--organizations", "5", "--days", "20", *arguments, verbosity=0)


def test_its_books_balance_and_its_totals_are_those_of_its_records(db: None) -> None:
    seed_usage()

    report = reconcile()
    assert (report["breaches"], report["records"], report["wallets"]) == ([], 3_000, 5)
    assert differences() == (0, [])
    statuses = report["records_by_status"]
    assert set(statuses) == {"ok", "refused", "upstream_error", "cancelled"}
    assert statuses["ok"] > 2_400
    assert report["charged_nanos"] > 0 and report["overrun_nanos"] > 0
    assert all(wallet.balance_nanos > 0 for wallet in Wallet.objects.all())
    assert LedgerEntry.objects.filter(kind="usage").count() > 500
    found = totals(EVERYBODY, last_days(21, today_utc()))
    assert found.cost_nanos == report["charged_nanos"]
    assert found.timed > 1_000 and found.overruns > 0 and found.upstream_cost_nanos > 0


def test_records_come_in_the_order_of_their_ids(db: None) -> None:
    seed_usage()

    made = list(UsageRecord.objects.order_by("request_id").values_list("created_at", flat=True))
    milliseconds = [moment.replace(microsecond=moment.microsecond // 1000 * 1000) for moment in made]
    assert milliseconds == sorted(milliseconds)
    assert {len(pk) for pk in UsageRecord.objects.values_list("pk", flat=True)} == {36}


def test_a_database_with_records_is_left_alone_unless_forced(db: None) -> None:
    record(acme())

    with pytest.raises(CommandError, match="without --force"):
        seed_usage()
    assert (UsageRecord.objects.count(), DayTotal.objects.count()) == (1, 0)

    UsageRecord.objects.all().delete()
    seed_usage()
    seed_usage("--force")
    assert UsageRecord.objects.count() == 6_000
    assert (reconcile()["breaches"], differences()) == ([], (0, []))


@pytest.mark.parametrize("wrong", [("--records", "0"), ("--organizations", "0"), ("--days", "0")])
def test_nothing_is_made_of_nothing(db: None, wrong: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="must be positive"):
        call_command("seed_usage", *wrong)
    assert not UsageRecord.objects.exists()
