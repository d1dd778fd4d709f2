"""The proof itself: clean books have no breach, and each row that is tampered with is exactly the breach it makes."""

from __future__ import annotations

import json

import pytest
from django.core.management import call_command
from django.db import DatabaseError

from billing.models import LedgerEntry, Price
from billing.reconciliation import SHOWN, reconcile
from billing.services import append_price
from billing.settlement import settle
from billing.tasks import reconcile_nightly
from tests.cast.money import Bank, bank_fixture, execute, new_batch  # noqa: F401


@pytest.fixture
def books(bank: Bank) -> Bank:
    """1,000 in; `a` settled at 30, `b` captured at 20, `c` holds 50 under a budget; `d` was refused. Another: 5."""
    bank.credit(1_000)
    bank.other = bank.organization(5)
    bank.limited = bank.budget(500)
    bank.spend("a", 30)
    settle()
    bank.spend("b", 20)
    bank.run(bank.hold("c", 50, budget_ids=(bank.limited,)), bank.refusal("d"))
    return bank


def found(bank: Bank) -> list[tuple[str, str, object, object]]:
    names = {f"wallet {bank.acme} ": "", f"organization {bank.acme}": "acme", f"budget {bank.limited}": "budget"}
    rows = []
    for breach in bank.breaches():
        subject = breach["subject"]
        for old, new in names.items():
            subject = subject.replace(old, new)
        rows.append((breach["invariant"], subject, breach["expected"], breach["found"]))
    return rows


def test_clean_books_have_no_breach_and_tell_what_there_is(books: Bank):
    assert reconcile() == {
        "wallets": 2,
        "records": 3,
        "records_by_status": {"ok": 2, "refused": 1},
        "unsettled": 1,
        "open_holds": 1,
        "orphaned_holds": 0,
        "charged_nanos": 30,
        "overrun_nanos": 0,
        "breach_count": 0,
        "breaches": [],
    }


RECORD = "billing_usagerecord SET cost_nanos = cost_nanos + 1 WHERE request_id"
CHARGES = "acme charges"


@pytest.mark.parametrize(
    ("sql", "breaches"),
    [
        (
            "UPDATE billing_wallet SET balance_nanos = balance_nanos + 1 WHERE organization_id = {acme}",
            [("I1", "balance_nanos", 970, 971)],
        ),
        (
            "UPDATE billing_wallet SET credit_limit_nanos = 1 WHERE organization_id = {acme}",
            [("I1", "credit_limit_nanos", 0, 1)],
        ),
        (
            "UPDATE billing_wallet SET credit_limit_nanos = -901 WHERE organization_id = {acme}",
            [("I1", "credit_limit_nanos", 0, -901), ("I4", "balance_nanos less holds", ">= 901", 900)],
        ),
        (
            "UPDATE billing_wallet SET held_nanos = held_nanos - 1 WHERE organization_id = {acme}",
            [("I2", "held_nanos", 70, 69)],
        ),
        (
            "UPDATE billing_hold SET amount_nanos = 51 WHERE request_id = 'c'",
            [("I2", "held_nanos", 71, 70), ("I2", "budget held_nanos", 51, 50)],
        ),
        (
            "DELETE FROM billing_hold WHERE request_id = 'c'",
            [("I2", "held_nanos", 20, 70), ("I2", "budget held_nanos", 0, 50)],
        ),
        (
            "UPDATE billing_hold SET captured = true WHERE request_id = 'c'",
            [
                ("I3", CHARGES, 50, 100),
                ("I3", "captured hold c", 50, "no record at this cost"),
                ("I2", "budget held_nanos", 0, 50),
            ],
        ),
        ("DELETE FROM billing_hold WHERE request_id = 'b'", [("I2", "held_nanos", 50, 70), ("I3", CHARGES, 50, 30)]),
        ("UPDATE billing_budget SET held_nanos = 49 WHERE id = {limited}", [("I2", "budget held_nanos", 50, 49)]),
        (f"UPDATE {RECORD} = 'a'", [("I3", CHARGES, 51, 50)]),
        (f"UPDATE {RECORD} = 'b'", [("I3", CHARGES, 51, 50), ("I3", "captured hold b", 20, "no record at this cost")]),
        (f"UPDATE {RECORD} = 'd'", [("I3", CHARGES, 51, 50)]),
        ("DELETE FROM billing_usagerecord WHERE request_id = 'a'", [("I3", CHARGES, 20, 50)]),
        (
            "DELETE FROM billing_usagerecord WHERE request_id = 'b'",
            [("I3", CHARGES, 30, 50), ("I3", "captured hold b", 20, "no record at this cost")],
        ),
        (
            "UPDATE billing_usagerecord SET cost_nanos = -1 WHERE request_id = 'd'",
            [("I3", CHARGES, 49, 50), ("I3", "record d cost_nanos", "not negative", -1)],
        ),
        (
            "UPDATE billing_usagerecord SET request_id = 'c' WHERE request_id = 'd'",
            [("I3", "open hold c", "no record", "a record")],
        ),
        ("UPDATE billing_daytotal SET cost_nanos = cost_nanos - 1", [("I3", "day totals of acme", 30, 29)]),
        ("DELETE FROM billing_daytotal", [("I3", "day totals of acme", 30, 0)]),
    ],
)
def test_a_row_that_was_tampered_with_is_exactly_its_breach(books: Bank, sql: str, breaches):
    execute(sql.format(acme=books.acme, limited=books.limited))

    assert found(books) == breaches


def test_a_wallet_that_vanished_is_missed(books: Bank):
    execute("DELETE FROM billing_wallet WHERE organization_id = %s", books.acme)

    assert found(books) == [("I1", "balance_nanos", 970, 0), ("I2", "held_nanos", 70, 0)]


@pytest.mark.parametrize(
    ("kind", "amount", "breaches"),
    [
        ("credit", 7, [("I1", "balance_nanos", 977, 970)]),
        (
            "usage",
            -7,
            [("I1", "balance_nanos", 963, 970), ("I3", CHARGES, 50, 57), ("I3", "day totals of acme", 37, 30)],
        ),
    ],
)
def test_a_forged_ledger_entry_is_found(books: Bank, kind: str, amount: int, breaches):
    LedgerEntry.objects.create(wallet_id=books.acme, kind=kind, amount_nanos=amount, idempotency_key="forged")

    assert found(books) == breaches


def test_a_charge_that_was_settled_twice_is_found(books: Bank):
    """As if a settlement had deleted nothing: the same requests in a second entry, the wallet and the day moved."""
    LedgerEntry.objects.create(wallet_id=books.acme, kind="usage", amount_nanos=-30, idempotency_key="usage:again")
    execute("UPDATE billing_wallet SET balance_nanos = balance_nanos - 30 WHERE organization_id = %s", books.acme)
    execute("UPDATE billing_daytotal SET cost_nanos = cost_nanos * 2")

    assert found(books) == [("I3", CHARGES, 50, 80)]


def test_a_hold_beyond_what_was_available_is_found_while_it_is_open(books: Bank):
    execute("UPDATE billing_hold SET amount_nanos = amount_nanos + 901 WHERE request_id = 'c'")
    execute("UPDATE billing_wallet SET held_nanos = held_nanos + 901 WHERE organization_id = %s", books.acme)
    execute("UPDATE billing_budget SET held_nanos = held_nanos + 901")

    assert found(books) == [("I4", "balance_nanos less holds", ">= 0", -1)]


def test_overruns_debits_and_credit_cuts_explain_a_wallet_below_zero(bank: Bank):
    bank.credit(100)
    bank.limit(50)
    bank.run(bank.hold("a", 150))
    bank.run(bank.capture("a", 400, 150))
    bank.credit(-1_000)
    bank.limit(20)
    bank.run(bank.hold("free", 0))
    assert bank.breaches() == []

    settle()

    assert bank.wallet() == (-1_300, 0)
    assert bank.breaches() == []
    execute("UPDATE billing_usagerecord SET overrun_nanos = overrun_nanos - 1 WHERE request_id = 'a'")
    [breach] = bank.breaches()
    assert (breach["invariant"], breach["expected"], breach["found"]) == ("I4", ">= -1299", -1_300)


def test_orphans_are_counted_until_they_are_swept(books: Bank):
    books.expire_lease()

    report = reconcile()

    assert (report["orphaned_holds"], report["open_holds"], report["breaches"]) == (1, 1, [])


def test_the_list_is_cut_and_the_count_is_not(bank: Bank):
    for number in range(SHOWN + 3):
        bank.organization(number + 1)
    execute("UPDATE billing_wallet SET balance_nanos = balance_nanos + 1")

    report = reconcile()

    assert (report["breach_count"], len(report["breaches"])) == (SHOWN + 4, SHOWN)


def test_the_command_prints_one_json_object_and_exits_1_on_a_breach(books: Bank, capsys: pytest.CaptureFixture[str]):
    call_command("reconcile", json=True)
    clean = json.loads(capsys.readouterr().out)
    execute("UPDATE billing_wallet SET balance_nanos = 971 WHERE organization_id = %s", books.acme)

    with pytest.raises(SystemExit) as exit_info:
        call_command("reconcile", json=True)

    report = json.loads(capsys.readouterr().out)
    assert exit_info.value.code == 1
    assert list(report) == list(clean)
    assert (clean["breach_count"], clean["breaches"]) == (0, [])
    subject = f"wallet {books.acme} balance_nanos"
    assert report["breach_count"] == 1
    assert report["breaches"] == [{"invariant": "I1", "subject": subject, "expected": 970, "found": 971}]


def test_the_command_for_people(books: Bank, capsys: pytest.CaptureFixture[str]):
    call_command("reconcile")

    assert "breach_count: 0\n" in capsys.readouterr().out


def test_the_nightly_task_logs_each_breach(books: Bank, caplog: pytest.LogCaptureFixture):
    execute("UPDATE billing_wallet SET balance_nanos = 971 WHERE organization_id = %s", books.acme)

    assert reconcile_nightly() == 1

    assert f"reconcile: I1 wallet {books.acme} balance_nanos: expected 970, found 971" in caplog.messages


def test_it_reads_one_moment_though_money_moves_between_its_queries(books: Bank, monkeypatch: pytest.MonkeyPatch):
    """Deterministic: a capture and a settlement commit after the wallets were read and before the ledger is."""
    from billing import reconciliation

    original = reconciliation._by
    moved: list[str] = []

    def by(*arguments):
        if not moved:
            moved.append("e")
            with new_batch() as batch:
                batch.run([books.hold("e", 100)])
                batch.run([books.capture("e", 90, 100)])
        return original(*arguments)

    monkeypatch.setattr(reconciliation, "_by", by)

    report = reconcile()

    assert (report["breaches"], report["unsettled"], report["records"]) == ([], 1, 3)
    assert books.wallet() == (970, 160)
    assert reconcile()["unsettled"] == 2


@pytest.mark.parametrize("statement", ["UPDATE {} SET note = 'x'", "DELETE FROM {}"])
@pytest.mark.parametrize("model", [LedgerEntry, Price])
def test_ledger_and_prices_refuse_every_change(books: Bank, statement: str, model):
    append_price(model_name="m", units={"input": "1"})
    before = list(model.objects.order_by("pk").values())

    with pytest.raises(DatabaseError, match="append-only"):
        execute(statement.format(model._meta.db_table))

    assert list(model.objects.order_by("pk").values()) == before != []
