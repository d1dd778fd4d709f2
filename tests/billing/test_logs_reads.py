"""Usage Logs' reads: who sees which records, pages that lose and repeat nothing, and the arithmetic of a cost."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import ApiKey, Membership, User
from accounts.selectors import Reach
from accounts.services import create_user
from billing.models import Hold, RefusalTally, UsageRecord
from billing.pricing.rates import PriceInfo, compile_rates
from billing.reports import logs
from billing.reports.arithmetic import arithmetic
from billing.reports.logs import LogFilter
from costrouter.lib.ids import request_id_at
from costrouter.lib.units import UNITS
from tests.cast.world import World

START = datetime(2026, 11, 1, tzinfo=UTC)


class Desk:
    """Alice's organization with Carol in it: two keys each, and a clock that moves a second a record."""

    def __init__(self) -> None:
        self.world = World()
        self.alice, self.bob = self.world.alice, self.world.bob
        self.organization = self.world.organization
        self.carol = create_user(email="carol@example.com")
        Membership.objects.create(user=self.carol, organization=self.organization, role="member")
        self.keys = [self.new_key(self.alice), self.new_key(self.alice), self.new_key(self.carol)]
        self.all = Reach(self.organization.pk, None)
        self.carols = Reach(self.organization.pk, self.carol.pk)
        self.number = 0

    def new_key(self, user: User) -> ApiKey:
        number = ApiKey.objects.count()
        return ApiKey.objects.create(
            organization=self.organization, user=user, name=f"key {number}", prefix="sk-", digest=f"digest {number}"
        )

    def record(self, key: ApiKey | None = None, **given: Any) -> UsageRecord:
        """A record that is a second newer than the last; `after`: seconds from its arrival to its hold."""
        self.number += 1
        key = key or self.keys[0]
        at = START + timedelta(seconds=self.number)
        values: dict[str, Any] = {
            "request_id": f"{request_id_at(at)}{self.number:020x}",
            "created_at": at + timedelta(seconds=given.pop("after", 0)),
            "organization_id": key.organization_id,
            "user_id": key.user_id,
            "api_key_id": key.pk,
            "endpoint": "chat.completions",
            "model": "double-1",
            "group": "default",
            "status": "ok",
        }
        return UsageRecord.objects.create(**{**values, **given})


@pytest.fixture
def desk(db: None) -> Desk:
    return Desk()


def walk_back(
    reach: Reach, chosen: LogFilter, *, size: int = 4, between: Callable[[], object] = lambda: None
) -> list[str]:
    """The ids of every page, from the newest to the oldest; `between` runs after each page."""
    found: list[str] = []
    before = ""
    for _ in range(1_000):
        page = logs.page(reach, chosen, before=before, size=size)
        found += [row.pk for row in page.rows]
        between()
        if page.older is None:
            return found
        assert not before or page.older < before
        before = page.older
    raise AssertionError("the walk does not end")


def test_a_member_sees_their_own_records_and_an_admin_everybodys(desk: Desk) -> None:
    alices, carols = desk.record(desk.keys[0]), desk.record(desk.keys[2])
    desk.record(desk.world.bobs_key)

    assert [row.pk for row in logs.page(desk.all, LogFilter()).rows] == [carols.pk, alices.pk]
    assert [row.pk for row in logs.page(desk.carols, LogFilter()).rows] == [carols.pk]
    assert logs.page(desk.carols, LogFilter(user_id=desk.alice.pk)).rows == []
    assert logs.page(desk.carols, LogFilter(key_id=desk.keys[0].pk)).rows == []
    assert logs.page(desk.all, LogFilter(key_id=desk.world.bobs_key.pk)).rows == []


def test_one_record_is_found_only_within_reach(desk: Desk) -> None:
    alices, carols, bobs = desk.record(desk.keys[0]), desk.record(desk.keys[2]), desk.record(desk.world.bobs_key)

    found = logs.one(desk.carols, carols.pk)
    assert found is not None and (found.key_name, found.user_name) == (desk.keys[2].name, "carol@example.com")
    assert logs.one(desk.carols, alices.pk) is None
    assert logs.one(desk.all, alices.pk) == alices
    assert logs.one(desk.all, bobs.pk) is None
    assert logs.one(desk.all, "req_\x00") is None


def test_each_filter_lets_through_what_it_says(desk: Desk) -> None:
    plain = desk.record()
    other = desk.record(
        desk.keys[1], model="m", group="g", endpoint="embeddings", status="refused", streamed=True, cost_nanos=50
    )

    def seen(**chosen: Any) -> list[UsageRecord]:
        return logs.page(desk.all, LogFilter(**chosen)).rows

    for chosen in (
        {"key_id": desk.keys[1].pk},
        {"model": "m"},
        {"group": "g"},
        {"endpoint": "embeddings"},
        {"status": "refused"},
        {"streamed": True},
        {"min_cost_nanos": 50},
        {"start": other.created_at},
    ):
        assert seen(**chosen) == [other], chosen
    assert seen(streamed=False) == [plain]
    assert seen(end=other.created_at) == [plain]
    assert seen(user_id=desk.alice.pk) == [other, plain]
    assert seen(user_id=desk.carol.pk) == []


def test_times_are_those_of_the_hold_though_the_request_arrived_earlier(desk: Desk) -> None:
    slow = desk.record(after=1800)
    desk.record()

    assert logs.page(desk.all, LogFilter(start=START + timedelta(seconds=1800))).rows == [slow]


@pytest.mark.parametrize("seed", range(6))
def test_pages_lose_and_repeat_nothing_while_rows_arrive(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever the filter and however little a page may look through, a walk meets exactly what was there."""
    chance = random.Random(seed)
    monkeypatch.setattr(logs, "MOST_LOOKED_THROUGH", 9)
    keys = [*desk.keys, desk.new_key(desk.carol), desk.world.bobs_key]

    def arrive() -> UsageRecord:
        return desk.record(
            chance.choice(keys),
            model=chance.choice(["m", "n"]),
            status=chance.choice(["ok", "ok", "ok", "refused"]),
            cost_nanos=chance.choice([0, 10]),
            after=chance.choice([0, 0, 100]),
        )

    rows = [arrive() for _ in range(120)]
    for reach in (desk.all, desk.carols):
        for chosen in (
            LogFilter(),
            LogFilter(model="m"),
            LogFilter(status="refused"),
            LogFilter(key_id=desk.keys[2].pk, model="n"),
            LogFilter(user_id=desk.carol.pk, min_cost_nanos=5),
            LogFilter(start=START + timedelta(seconds=30), end=START + timedelta(seconds=90)),
            LogFilter(start=START + timedelta(seconds=30), status="ok", model="m"),
        ):
            there = sorted((row.pk for row in rows if _matches(row, reach, chosen)), reverse=True)
            found = walk_back(reach, chosen, between=lambda: rows.append(arrive()))
            assert found == there, (reach, chosen)


def _matches(row: UsageRecord, reach: Reach, chosen: LogFilter) -> bool:
    return (
        row.organization_id == reach.organization_id
        and reach.user_id in (None, row.user_id)
        and chosen.user_id in (None, row.user_id)
        and chosen.key_id in (None, row.api_key_id)
        and chosen.model in ("", row.model)
        and chosen.status in ("", row.status)
        and row.cost_nanos >= (chosen.min_cost_nanos or 0)
        and (chosen.start is None or row.created_at >= chosen.start)
        and (chosen.end is None or row.created_at < chosen.end)
    )


def test_a_walk_forward_meets_what_a_walk_back_has_met(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_LOOKED_THROUGH", 5)
    rows = [desk.record(desk.keys[number % 3], model="m" if number % 4 == 0 else "n") for number in range(40)]
    for reach, chosen in ((desk.all, LogFilter()), (desk.all, LogFilter(model="m")), (desk.carols, LogFilter())):
        there = [row.pk for row in rows if _matches(row, reach, chosen)]
        found: list[str] = [there[0]]
        after: str | None = there[0]
        while after is not None:
            page = logs.page(reach, chosen, after=after, size=4)
            found += [row.pk for row in reversed(page.rows)]
            after = page.newer
        assert found == there


def test_a_page_says_what_lies_beyond_it(desk: Desk) -> None:
    rows = [desk.record() for _ in range(5)]

    first = logs.page(desk.all, LogFilter(), size=2)
    assert (first.rows, first.older, first.newer) == ([rows[4], rows[3]], rows[3].pk, None)
    second = logs.page(desk.all, LogFilter(), before=rows[3].pk, size=2)
    assert (second.rows, second.older, second.newer) == ([rows[2], rows[1]], rows[1].pk, rows[2].pk)
    last = logs.page(desk.all, LogFilter(), before=rows[1].pk, size=2)
    assert (last.rows, last.older, last.bounded) == ([rows[0]], None, False)
    back = logs.page(desk.all, LogFilter(), after=rows[2].pk, size=2)
    assert (back.rows, back.older, back.newer) == ([rows[4], rows[3]], rows[3].pk, None)


def test_a_filter_that_finds_little_says_from_where_to_look_further(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_LOOKED_THROUGH", 3)
    rows = [desk.record(model="rare" if number == 0 else "common") for number in range(5)]

    page = logs.page(desk.all, LogFilter(model="rare"))
    assert (page.rows, page.older, page.bounded) == ([], rows[2].pk, True)
    page = logs.page(desk.all, LogFilter(model="rare"), before=page.older or "")
    assert (page.rows, page.older, page.bounded) == ([rows[0]], None, False)


def test_a_member_with_many_keys_sees_all_their_records(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_KEYS", 2)
    mine = [desk.record(desk.new_key(desk.carol)) for _ in range(4)]
    desk.record(desk.keys[0])

    assert walk_back(desk.carols, LogFilter(), size=3) == [row.pk for row in reversed(mine)]


def test_names_take_one_query_a_table_and_deleted_things_have_none(desk: Desk) -> None:
    for number in range(30):
        desk.record(desk.keys[number % 3])
    desk.record(user_id=987_654, api_key_id=987_655)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = logs.page(desk.all, LogFilter())
    assert len(queries) == 3
    assert (page.rows[0].key_name, page.rows[0].user_name) == ("", "")
    assert {(row.key_name, row.user_name) for row in page.rows[1:]} == {(key.name, key.user.email) for key in desk.keys}


def test_requests_under_way_are_those_that_hold_money(desk: Desk) -> None:
    for number, (key, captured) in enumerate(
        [(desk.keys[0], False), (desk.keys[2], False), (desk.keys[2], True), (desk.world.bobs_key, False)]
    ):
        Hold.objects.create(
            request_id=f"req_{number}",
            wallet_id=key.organization_id,
            user_id=key.user_id,
            amount_nanos=1,
            captured=captured,
        )

    assert logs.under_way(desk.all).count() == 2
    assert logs.under_way(desk.carols).count() == 1
    assert logs.held(desk.carols, "req_1") is not None
    assert [logs.held(desk.carols, f"req_{number}") for number in (0, 2, 3)] == [None, None, None]


def test_refusals_that_were_only_counted_are_told_by_key_and_code(desk: Desk) -> None:
    minute = START.replace(minute=30)
    for key, at, code, count in (
        (desk.keys[0], minute, "rate_limit_exceeded", 40),
        (desk.keys[0], minute + timedelta(minutes=1), "rate_limit_exceeded", 2),
        (desk.keys[2], minute, "budget_exceeded", 7),
        (desk.world.bobs_key, minute, "key_disabled", 9),
    ):
        RefusalTally.objects.create(
            api_key=key, organization_id=key.organization_id, minute=at, error_code=code, count=count
        )

    def told(reach: Reach, **chosen: Any) -> list[tuple[int, str, int]]:
        return [(row.api_key_id, row.error_code, row.count) for row in logs.tallied(reach, LogFilter(**chosen))]

    first, last = (desk.keys[0].pk, "rate_limit_exceeded"), (desk.keys[2].pk, "budget_exceeded", 7)
    assert told(desk.all) == [(*first, 42), last]
    assert told(desk.carols) == [last]
    assert told(desk.all, key_id=desk.keys[2].pk) == [last]
    assert told(desk.all, start=minute + timedelta(seconds=90)) == [(*first, 2)]
    assert told(desk.all, end=minute + timedelta(minutes=1)) == [(*first, 40), last]
    assert told(desk.all, status="ok") == []


# Arithmetic

_PRICES = st.decimals(min_value=0, max_value=1000, places=6).map(lambda value: f"{value:f}")


@given(
    st.dictionaries(st.sampled_from(sorted(UNITS)), _PRICES, min_size=1),
    st.dictionaries(st.sampled_from(sorted(UNITS)), _PRICES),
    st.decimals(min_value=0, max_value=100, places=4),
    st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 3_000_000)),
    st.integers(0, 300_000),
)
def test_the_arithmetic_is_that_of_the_charge(
    units: dict[str, str], long_units: dict[str, str], rate: Decimal, used: dict[str, int], long_above: int
) -> None:
    """For any price, rate and usage, the record's own lines add up to its cost, to the nano."""
    price = PriceInfo(
        id=1,
        model_name="m",
        tier="standard",
        units={name: Decimal(value) for name, value in units.items()},
        long_above=long_above,
        long_units={name: Decimal(value) for name, value in long_units.items()},
        effective_from=START,
    )
    rates = compile_rates(price, rate)

    shown = arithmetic(msgspec.json.decode(rates.lines_json(used)), rate, rates.cost_nanos(used))

    assert shown.rounded == shown.charged == rates.cost_nanos(used)
    assert not shown.is_capped
    assert sum(line.nanos for line in shown.lines) == shown.sum


def test_every_digit_is_shown() -> None:
    lines = [
        {"quantity": 1, "unit": "input", "price": "0.0375", "per": 1_000_000},
        {"quantity": 1_234_567, "unit": "output", "price": "0.6", "per": 1_000_000},
        {"quantity": 3, "unit": "images", "price": "0.04", "per": 1},
    ]

    shown = arithmetic(lines, Decimal("1.5000"), 1_291_110_356)

    assert [line.amount for line in shown.lines] == ["$0.0000000375", "$0.7407402", "$0.12"]
    assert [line.per_text for line in shown.lines] == ["per million", "per million", "each"]
    assert shown.sum_text == "$0.8607402375"
    assert shown.rate_text == "1.5"
    assert shown.exact_text == "$1.29111035625"
    assert (shown.rounded, shown.is_exact, shown.is_capped) == (1_291_110_356, False, False)


def test_an_estimate_that_was_cut_to_what_was_held_says_so() -> None:
    lines = [{"quantity": 10, "unit": "calls", "price": "1", "per": 1}]

    shown = arithmetic(lines, Decimal(1), 4_000_000_000)

    assert (shown.rounded, shown.charged, shown.is_capped) == (10_000_000_000, 4_000_000_000, True)
