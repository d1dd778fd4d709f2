"""Settlement: every captured hold reaches ledger, balance and day totals exactly once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from billing import settlement
from billing.management.commands.rebuild_totals import Command as RebuildCommand
from billing.management.commands.settle import Command
from billing.models import DayTotal, Hold, LedgerEntry, UsageRecord, Wallet
from billing.settlement import settle
from billing.totals import rebuild_totals, sum_by_day
from costrouter.lib.units import UNITS
from tests.cast.money import Bank, another_connection, bank_fixture, execute, in_threads  # noqa: F401


def usage_entries() -> list[tuple[int, int, int]]:
    """(wallet, amount, requests) of every usage entry."""
    return list(
        LedgerEntry.objects.filter(kind="usage")
        .order_by("wallet_id", "id")
        .values_list("wallet_id", "amount_nanos", "requests")
    )


def day_totals(*names: str) -> list[tuple[object, ...]]:
    rows = DayTotal.objects.order_by("day", "organization_id", "model", "api_key_id", "channel_id")
    return list(rows.values_list("day", "organization_id", "model", "api_key_id", "channel_id", *names))


def test_one_entry_a_wallet_and_exact_balances(bank: Bank):
    bank.credit(1_000)
    other = bank.organization(1_000)
    bank.spend("r1", 333)
    bank.spend("r2", 1)
    bank.spend("r3", 500, organization_id=other)
    bank.run(bank.hold("r4", 77))

    assert settle() == 3

    assert usage_entries() == [(bank.acme, -334, 2), (other, -500, 1)]
    assert bank.wallet() == (666, 77)
    assert bank.wallet(other) == (500, 0)
    assert bank.holds() == {"r4": (77, False)}
    assert bank.breaches() == []


def test_nothing_to_settle_opens_no_transaction(bank: Bank, django_assert_num_queries):
    bank.credit(100)
    bank.run(bank.hold("r1", 77))

    with django_assert_num_queries(1):
        assert settle() == 0

    assert bank.wallet() == (100, 77)


def test_a_repeat_changes_nothing(bank: Bank):
    bank.credit(100)
    bank.spend("r1", 30)
    settle()
    before = bank.wallet(), usage_entries(), day_totals("requests", "cost_nanos")

    assert settle() == 0

    assert (bank.wallet(), usage_entries(), day_totals("requests", "cost_nanos")) == before


def test_charges_of_nothing_are_counted_by_day_and_leave_no_entry(bank: Bank):
    bank.run(bank.hold("r1", 0))
    bank.run(bank.capture("r1", 0, 0, status="upstream_error"))

    assert settle() == 1

    assert usage_entries() == []
    assert day_totals("requests", "failures", "cost_nanos") == [(date(2026, 5, 14), bank.acme, "m", 1, 0, 1, 1, 0)]
    assert bank.breaches() == []


def test_day_totals_to_the_nano_and_the_token(bank: Bank):
    bank.credit(10**18)
    first = {"units": {"input": 10**9, "cache_read": 7}, "upstream_cost_nanos": 10**15 + 1, "channel_id": 4}
    second = {"units": {"input": 1, "output": 3, "reasoning": 2}, "upstream_cost_nanos": 2, "channel_id": 4}
    bank.spend("r1", 10**16 + 1, **first)
    settle()
    bank.spend("r2", 10**16 + 2, **second)
    bank.spend("r3", 5, model="other", api_key_id=None)
    settle()

    counted = ("requests", "failures", "cost_nanos", "upstream_cost_nanos")
    units = ("input", "cache_read", "output", "reasoning", "images")
    assert day_totals(*counted, *units) == [
        (date(2026, 5, 14), bank.acme, "m", 1, 4, 2, 0, 2 * 10**16 + 3, 10**15 + 3, 10**9 + 1, 7, 3, 2, 0),
        (date(2026, 5, 14), bank.acme, "other", 0, 0, 1, 0, 5, 0, 0, 0, 0, 0, 0),
    ]
    assert bank.breaches() == []


def test_a_day_is_that_of_the_request_in_utc(bank: Bank):
    bank.credit(100)
    for request, moment in (
        ("r1", datetime(2026, 5, 14, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("r2", datetime(2026, 5, 15, tzinfo=UTC)),
        ("r3", datetime(2026, 5, 15, 1, tzinfo=timezone(timedelta(hours=2)))),
    ):
        bank.spend(request, 10, created_at=bank.batch.dialect.timestamp(moment))

    settle()

    assert day_totals("requests") == [
        (date(2026, 5, 14), bank.acme, "m", 1, 0, 2),
        (date(2026, 5, 15), bank.acme, "m", 1, 0, 1),
    ]


def test_sums_of_records_that_come_in_another_time_zone_are_by_utc_day():
    moment = datetime(2026, 5, 15, 1, tzinfo=timezone(timedelta(hours=2)))

    totals = sum_by_day([UsageRecord(request_id="r1", organization_id=1, model="m", created_at=moment, price_id=1)])

    assert [key[0] for key in totals] == ["2026-05-14"]


def test_more_than_a_transaction_takes(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    bank.credit(10_000)
    bank.run(*[bank.hold(f"r{n:03}", n) for n in range(25)])
    bank.run(*[bank.capture(f"r{n:03}", n, n) for n in range(25)])
    monkeypatch.setattr(settlement, "LIMIT", {"postgresql": 10, "sqlite": 10})

    assert settle() == 25

    assert usage_entries() == [
        (bank.acme, -sum(range(10)), 10),
        (bank.acme, -sum(range(10, 20)), 10),
        (bank.acme, -sum(range(20, 25)), 5),
    ]
    assert bank.wallet() == (10_000 - sum(range(25)), 0)
    assert bank.breaches() == []


def test_at_most_so_many_may_be_asked_for(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    bank.credit(100)
    bank.run(*[bank.hold(f"r{n}", 1) for n in range(9)])
    bank.run(*[bank.capture(f"r{n}", 1, 1) for n in range(9)])
    monkeypatch.setattr(settlement, "LIMIT", {"postgresql": 2, "sqlite": 2})

    assert settle(most=4) == 4

    assert Hold.objects.filter(captured=True).count() == 5
    assert bank.wallet() == (96, 5)
    assert bank.breaches() == []


@pytest.mark.parametrize("step", ["_write_entries", "_add_day_totals"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_in_the_middle_takes_nothing(bank: Bank, monkeypatch: pytest.MonkeyPatch, step: str, when: str):
    bank.credit(100)
    bank.spend("r1", 30)
    original = getattr(settlement, step)

    def crash(*arguments, **options):
        if when == "after":
            original(*arguments, **options)
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(settlement, step, crash)
        with pytest.raises(RuntimeError, match="power cut"):
            settle()

    assert (bank.wallet(), bank.holds()) == ((100, 30), {"r1": (30, True)})
    assert (usage_entries(), day_totals()) == ([], [])
    assert settle() == 1
    assert bank.wallet() == (70, 0)
    assert usage_entries() == [(bank.acme, -30, 1)]
    assert bank.breaches() == []


def test_settlements_at_the_same_time_charge_once(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    bank.credit(100_000)
    others = [bank.organization(100_000) for _ in range(3)]
    owners = [bank.acme, *others]
    bank.run(*[bank.hold(f"r{n:03}", n, organization_id=owners[n % 4]) for n in range(120)])
    bank.run(*[bank.capture(f"r{n:03}", n, n, organization_id=owners[n % 4]) for n in range(120)])
    monkeypatch.setattr(settlement, "LIMIT", {"postgresql": 7, "sqlite": 7})

    def settle_until_empty():
        count = 0
        while Hold.objects.filter(captured=True).exists():
            count += settle()
        return count

    assert sum(in_threads(*[settle_until_empty] * 4)) == 120

    for offset, owner in enumerate(owners):
        assert bank.wallet(owner) == (100_000 - sum(range(offset, 120, 4)), 0)
    assert sum(requests for _, _, requests in usage_entries()) == 120
    assert sum(DayTotal.objects.values_list("requests", flat=True)) == 120
    assert bank.breaches() == []


def test_settlement_passes_over_what_another_is_taking(bank: Bank):
    """On PostgreSQL it goes on with the rest; on SQLite there is one writer at a time, so nothing can be half taken."""
    bank.credit(100)
    bank.spend("r1", 10)
    bank.spend("r2", 20)
    with another_connection() as other:
        other.connection.execute("BEGIN")
        if other.vendor == "postgresql":
            other.connection.execute("SELECT 1 FROM billing_hold WHERE request_id = 'r1' FOR UPDATE")
            assert settle() == 1
            assert bank.holds() == {"r1": (10, True)}
        other.connection.execute("ROLLBACK")

    settle()

    assert bank.wallet() == (70, 0)
    assert bank.holds() == {}
    assert bank.breaches() == []


def test_a_late_capture_is_settled_too(bank: Bank):
    from billing.sweep import sweep

    bank.credit(100)
    bank.run(bank.hold("r1", 40))
    bank.expire_lease()
    sweep()
    settle()
    assert usage_entries() == []

    bank.run(bank.capture("r1", 35, 40))

    assert settle() == 1
    assert bank.wallet() == (65, 0)
    assert day_totals("requests", "cost_nanos") == [(date(2026, 5, 14), bank.acme, "m", 1, 0, 1, 35)]
    assert bank.breaches() == []


def test_the_command_settles(bank: Bank, capsys: pytest.CaptureFixture[str]):
    bank.credit(100)
    bank.spend("r1", 10)

    Command().handle()

    assert capsys.readouterr().out == "settled 1\n"
    assert Wallet.objects.get(pk=bank.acme).balance_nanos == 90


COUNTED = ("requests", "failures", "cost_nanos", "upstream_cost_nanos", *UNITS)


def test_totals_are_made_anew_from_what_was_settled(bank: Bank):
    from billing.sweep import sweep

    bank.credit(10_000)
    later = bank.batch.dialect.timestamp(datetime(2026, 5, 15, tzinfo=UTC))
    tried = [{"channel": 4, "outcome": "400"}]
    bank.spend("r1", 30, units={"input": 5, "output": 2}, upstream_cost_nanos=9, channel_id=4)
    bank.spend("r2", 40, units={"input": 1}, created_at=later, model="other", api_key_id=None)
    for request, held, fields in (
        ("r3", 20, {"status": "refused"}),
        ("r4", 20, {"status": "upstream_error", "units": {"output": 3}}),
        ("r5", 0, {"status": "refused", "attempts": tried}),  # free, and refused by the upstream
        ("r6", 0, {"status": "ok"}),
    ):
        bank.run(bank.hold(request, held))
        bank.run(bank.capture(request, 0, held, **fields))
    # Refused before it was held; given up before it was sent, with and without a hold; swept: none of them counts.
    bank.run(bank.refusal("r7"))
    bank.run(bank.hold("r8", 50))
    bank.run(bank.capture("r8", 0, None, status="cancelled"), bank.capture("r9", 0, None, status="cancelled"))
    bank.run(bank.hold("r10", 50))
    bank.expire_lease()
    sweep()
    settle()
    # Captured, but not settled yet.
    bank.spend("r11", 60)
    before = day_totals(*COUNTED)
    assert [row[:6] for row in before] == [
        (date(2026, 5, 14), bank.acme, "m", 1, 0, 4),
        (date(2026, 5, 14), bank.acme, "m", 1, 4, 1),
        (date(2026, 5, 15), bank.acme, "other", 0, 0, 1),
    ]

    assert rebuild_totals() == 3
    assert day_totals(*COUNTED) == before
    DayTotal.objects.update(requests=77, cost_nanos=1)
    DayTotal.objects.filter(model="other").delete()
    DayTotal.objects.create(day=date(2026, 1, 1), organization_id=bank.acme, model="never", requests=1)
    rebuild_totals()
    assert day_totals(*COUNTED) == before

    settle()
    assert sum(DayTotal.objects.values_list("requests", flat=True)) == 7
    after = day_totals(*COUNTED)
    rebuild_totals()
    assert day_totals(*COUNTED) == after
    assert bank.breaches() == []


def test_totals_made_anew_while_settlements_run_miss_nothing(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    bank.credit(100_000)
    bank.run(*[bank.hold(f"r{n:03}", n) for n in range(120)])
    bank.run(*[bank.capture(f"r{n:03}", n, n, model=f"m{n % 3}") for n in range(120)])
    monkeypatch.setattr(settlement, "LIMIT", {"postgresql": 7, "sqlite": 7})

    def settle_until_empty():
        while Hold.objects.filter(captured=True).exists():
            settle()

    def rebuild_until_empty():
        while Hold.objects.filter(captured=True).exists():
            rebuild_totals()

    in_threads(settle_until_empty, rebuild_until_empty, settle_until_empty, rebuild_until_empty)

    found = day_totals("requests", "cost_nanos")
    assert [row[2:] for row in found] == [(f"m{first}", 1, 0, 40, sum(range(first, 120, 3))) for first in range(3)]
    rebuild_totals()
    assert day_totals("requests", "cost_nanos") == found


def test_the_command_makes_totals_anew(bank: Bank, capsys: pytest.CaptureFixture[str]):
    bank.credit(100)
    bank.spend("r1", 10)
    settle()
    DayTotal.objects.all().delete()

    RebuildCommand().handle()

    assert capsys.readouterr().out == "rebuilt 1\n"
    assert day_totals("cost_nanos") == [(date(2026, 5, 14), bank.acme, "m", 1, 0, 10)]
