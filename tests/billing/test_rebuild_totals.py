"""Day totals as settlement keeps them equal those made anew from the records, whatever became of a request.

`World.prove` asserts it too: after every test that proves its money.
"""

from __future__ import annotations

import importlib
import json
from datetime import date
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from billing.models import DayTotal, UsageRecord
from billing.settlement import settle
from billing.sweep import sweep
from billing.tasks import check_totals_nightly
from billing.totals import COUNTED, differences, rebuild_totals
from tests.cast.calls import Call
from tests.cast.money import Bank, another_connection, bank_fixture  # noqa: F401
from tests.cast.waiting import eventually
from tests.doubles.upstream import COST, RESET, ask, delta, json_reply, sse_reply

COUNT = {"model": "claude-1", "messages": [{"role": "user", "content": "hello"}]}
DAY = date(2026, 5, 14)


def stored() -> list[dict[str, Any]]:
    rows = DayTotal.objects.order_by("day", "organization_id", "model", "api_key_id", "channel_id")
    return list(rows.values("day", "organization_id", "model", "api_key_id", "channel_id", *COUNTED))


def test_requests_of_every_kind_count_the_same_when_they_settle_and_when_they_are_counted_anew(
    world, upstream, relay, client
):
    claude = world.new_model("claude-1", input="1", output="2")
    free = world.new_model("free-1", input="0", output="0")
    dear = world.new_model("dear-1", max_output=1_000, input="1000000", output="1")
    main = world.new_channel(upstream.url, models={world.model: "", free: "", dear: ""})
    world.new_channel(upstream.url, name="claude", provider="anthropic", models={claude: ""})
    relay.settled_down()
    chat = "/v1/chat/completions"
    refusal = json_reply({"error": {"message": "no", "type": "invalid_request_error"}}, 400)
    # when: it is answered
    assert client.post(chat, json=ask()).status_code == 200
    # free of charge, and free altogether: counted by the upstream, refused by it, counted by ourselves
    assert client.post(chat, json=ask(model="free-1")).status_code == 200
    for reply in (json_reply({"input_tokens": 3}), refusal, RESET):
        upstream.script.append(reply)
        client.post("/v1/messages/count_tokens", json=COUNT)
    # refused before a hold, for want of money, and after a hold by the upstream
    assert client.post(chat, json=ask(model="unknown")).status_code == 404
    assert client.post(chat, json=ask(model="dear-1")).status_code == 403
    upstream.script.append(refusal)
    assert client.post(chat, json=ask()).status_code == 400
    upstream.script.append(refusal)
    assert client.post(chat, json=ask(model="free-1")).status_code == 400
    # cut by the upstream, and given up by the client
    upstream.script.append(sse_reply([delta("Hello")], then="cut"))
    client.post(chat, json=ask(stream=True))
    upstream.script.append(sse_reply([delta("Hello")], then="hang"))
    call = Call(relay, world.secret, ask(stream=True))
    call.until(b"Hello")
    call.hang_up()
    eventually(lambda: UsageRecord.objects.count() == 11, what="every record")
    # then
    world.prove()
    settled = stored()
    found = {(row["model"], row["channel_id"]): (row["requests"], row["failures"]) for row in settled}
    assert found == {
        ("double-1", main.pk): (4, 2),  # answered, refused by the upstream, cut, given up
        ("free-1", main.pk): (2, 1),
    }
    assert sum(row["cost_nanos"] for row in settled) == COST + UsageRecord.objects.get(status="cancelled").cost_nanos
    assert (
        sum(row["timed"] for row in settled)
        == UsageRecord.objects.filter(model__in=["double-1", "free-1"], first_byte_ms__isnull=False).count()
    )
    rebuild_totals()
    assert stored() == settled


@pytest.mark.parametrize("cost", [0, 35])
def test_what_was_interrupted_counts_from_its_late_capture_on(bank: Bank, cost: int):
    bank.credit(100)
    bank.run(bank.hold("r1", 40))
    bank.expire_lease()
    sweep()
    settle()
    assert (stored(), differences()) == ([], (0, []))

    bank.run(bank.capture("r1", cost, 40, first_byte_ms=12))
    assert differences() == (0, [])
    settle()

    [row] = stored()
    assert (row["requests"], row["cost_nanos"], row["overruns"], row["overrun_nanos"]) == (1, cost, cost > 0, cost)
    assert (row["first_byte_ms"], row["timed"]) == (12, 1)
    assert differences() == (0, [])


def test_a_charge_that_waits_is_in_neither(bank: Bank):
    bank.credit(100)
    bank.spend("r1", 10)

    assert (differences(), DayTotal.objects.count()) == ((0, []), 0)


def some_usage(bank: Bank) -> None:
    bank.credit(1_000)
    bank.spend("r1", 10, model="a", units={"input": 3})
    bank.spend("r2", 20, model="b", units={"input": 4})
    settle()


def test_the_check_finds_what_is_wrong_missing_or_too_many_and_writes_nothing(
    bank: Bank, capsys: pytest.CaptureFixture[str]
):
    some_usage(bank)
    DayTotal.objects.filter(model="a").update(cost_nanos=11, input=2)
    DayTotal.objects.filter(model="b").delete()
    DayTotal.objects.create(day=date(2026, 1, 1), organization_id=bank.acme, model="never", requests=1)
    before = stored()

    with pytest.raises(SystemExit) as stop:
        call_command("rebuild_totals", "--check")

    assert stop.value.code == 1
    key = {"day": "2026-05-14", "organization_id": bank.acme, "api_key_id": 1, "channel_id": 0}
    assert sorted(json.loads(capsys.readouterr().out)["differences"], key=lambda found: found["model"]) == [
        {**key, "model": "a", "stored": {"cost_nanos": 11, "input": 2}, "records": {"cost_nanos": 10, "input": 3}},
        {
            **key,
            "model": "b",
            "stored": {"requests": 0, "cost_nanos": 0, "input": 0},
            "records": {"requests": 1, "cost_nanos": 20, "input": 4},
        },
        {
            **key,
            "day": "2026-01-01",
            "model": "never",
            "api_key_id": 0,
            "stored": {"requests": 1},
            "records": {"requests": 0},
        },
    ]
    assert stored() == before


def test_the_check_says_that_all_is_well(bank: Bank, capsys: pytest.CaptureFixture[str]):
    some_usage(bank)

    call_command("rebuild_totals", "--check")

    assert json.loads(capsys.readouterr().out) == {"difference_count": 0, "differences": []}


def test_the_check_reads_one_moment(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    """What settles between its two reads is in neither of them."""
    from billing import totals

    some_usage(bank)
    bank.spend("r3", 30, model="c")
    original = totals.from_records

    def and_then_it_settles(*, alias: str) -> Any:
        found = original(alias=alias)
        with another_connection() as other:
            settle_on(other)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(totals, "from_records", and_then_it_settles)
        assert differences() == (0, [])

    assert DayTotal.objects.filter(model="c").exists()


def settle_on(other: Any) -> None:
    """A settlement by another process, in the fewest words."""
    other.connection.execute("BEGIN")
    other.connection.execute("DELETE FROM billing_hold WHERE request_id = 'r3'")
    row = DayTotal.objects.first()
    assert row is not None
    names = [field.column for field in DayTotal._meta.concrete_fields if field.column not in ("id", "model")]
    columns = ", ".join(f'"{name}"' for name in names)
    row_again = f"SELECT {columns}, 'c' FROM billing_daytotal WHERE id = {row.pk}"
    other.connection.execute(f"INSERT INTO billing_daytotal ({columns}, model) {row_again}")
    other.connection.execute("COMMIT")


def test_every_night_each_difference_is_an_error_in_the_log(bank: Bank, caplog: pytest.LogCaptureFixture):
    some_usage(bank)
    assert (check_totals_nightly(), caplog.records) == (0, [])
    DayTotal.objects.filter(model="a").update(requests=7)

    assert check_totals_nightly() == 1

    [message] = [record.getMessage() for record in caplog.records]
    assert "'stored': {'requests': 7}, 'records': {'requests': 1}" in message


def test_the_migration_fills_what_earlier_settlements_did_not_count(bank: Bank):
    bank.credit(10_000)
    tried = [{"channel": 4, "outcome": "400"}]
    bank.spend("r1", 30, first_byte_ms=7, channel_id=4)
    bank.run(bank.hold("r2", 10))
    bank.run(bank.capture("r2", 25, 10, first_byte_ms=9, channel_id=4))
    for request, held, fields in (
        ("r3", 20, {"status": "refused", "first_byte_ms": 1}),
        ("r4", 0, {"status": "cancelled", "first_byte_ms": 2, "attempts": tried}),
        ("r5", 0, {"status": "upstream_error", "first_byte_ms": 4, "api_key_id": None}),
    ):
        bank.run(bank.hold(request, held))
        bank.run(bank.capture(request, 0, held, **fields))
    bank.run(bank.refusal("r6", first_byte_ms=1_000))
    settle()
    bank.spend("r7", 60, first_byte_ms=1_000)  # waits
    right = stored()
    assert sum(row["first_byte_ms"] for row in right) == 23
    DayTotal.objects.update(overrun_nanos=0, overruns=0, first_byte_ms=0, timed=0)

    fill = importlib.import_module("billing.migrations.0006_fill_totals").fill
    with connection.schema_editor() as editor:
        fill(None, editor)

    assert stored() == right
