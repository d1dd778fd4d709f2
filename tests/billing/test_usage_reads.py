"""Usage is read from day totals, within reach, and exactly."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import ApiKey, Membership, Organization, User
from accounts.selectors import Reach, reach_of
from accounts.services import create_api_key, create_organization, create_user
from billing.models import DayTotal, Hold
from billing.reports import usage
from billing.reports.spending import spending_of_key
from billing.reports.usage import EVERYBODY, Period, Totals
from billing.settlement import settle
from tests.cast.money import Bank, bank_fixture, in_threads  # noqa: F401

MAY = Period(date(2026, 5, 1), date(2026, 5, 31))


class Acme:
    """Alice owns Acme and has two keys and a playground key there; Carol is a plain member with a deleted key."""

    def __init__(self) -> None:
        self.alice = create_user(email="alice@example.com", password="x", name="Alice")
        self.carol = create_user(email="carol@example.com", password="x")
        self.organization = create_organization(name="Acme", owner=self.alice)
        self.other = create_organization(name="Other", owner=self.alice)
        Membership.objects.create(user=self.carol, organization=self.organization, role="member")
        self.laptop = self.key("laptop", self.alice)
        self.server = self.key("server", self.alice)
        self.play = self.key("play 1", self.alice, purpose=ApiKey.Purpose.PLAYGROUND)
        self.play_again = self.key("play 2", self.carol, purpose=ApiKey.Purpose.PLAYGROUND)
        self.carols = self.key("carol", self.carol, deleted_at=timezone.now())
        self.foreign = self.key("foreign", self.alice, organization=self.other)
        self.reach = Reach(self.organization.pk, None)
        self.carols_reach = Reach(self.organization.pk, self.carol.pk)

    def key(self, name: str, user: User, organization: Organization | None = None, **fields: Any) -> ApiKey:
        key, _ = create_api_key(organization=organization or self.organization, user=user, name=name)
        ApiKey.objects.filter(pk=key.pk).update(**fields)
        return key

    def used(self, key: ApiKey, day: date, cost: int, **given: Any) -> None:
        """A day total of one request."""
        fields = {"model": "m", "channel_id": 1, "requests": 1, **given}
        DayTotal.objects.create(
            day=day, organization_id=key.organization_id, api_key_id=key.pk, cost_nanos=cost, **fields
        )


@pytest.fixture
def acme(db: None) -> Acme:
    return Acme()


def test_totals_of_a_period_are_exact_and_say_their_rates(acme: Acme):
    acme.used(acme.laptop, date(2026, 5, 1), 10**17 + 1, requests=4, failures=1, first_byte_ms=700, timed=3, input=9)
    acme.used(
        acme.server, date(2026, 5, 31), 2, upstream_cost_nanos=5, overrun_nanos=3, overruns=1, output=4, reasoning=2
    )
    acme.used(acme.server, date(2026, 4, 30), 1_000)
    acme.used(acme.server, date(2026, 6, 1), 1_000)
    acme.used(acme.foreign, date(2026, 5, 2), 1_000)

    found = usage.totals(acme.reach, MAY)

    assert found == Totals(
        requests=5,
        failures=1,
        cost_nanos=10**17 + 3,
        upstream_cost_nanos=5,
        overrun_nanos=3,
        overruns=1,
        first_byte_ms=700,
        timed=3,
        units={"input": 9, "output": 4, "reasoning": 2},
    )
    assert (found.success_rate, found.first_byte_average, found.margin_nanos) == (0.8, 233, 10**17 - 2)
    assert (found.input_tokens, found.output_tokens, found.cached_tokens, found.tokens) == (9, 4, 0, 13)


def test_every_class_of_tokens_counts_once(acme: Acme):
    units = {"input": 1, "audio_in": 10, "image_in": 100, "cache_read": 1_000, "cache_write_5m": 10_000}
    units |= {"cache_write_1h": 100_000, "output": 2, "audio_out": 20, "image_out": 200, "reasoning": 7, "images": 5}
    acme.used(acme.laptop, date(2026, 5, 1), 1, **units)

    found = usage.totals(acme.reach, MAY)

    assert (found.input_tokens, found.cached_tokens, found.output_tokens) == (111, 111_000, 222)
    assert found.tokens == 111_333
    assert found.units["images"] == 5


def test_nothing_used_has_no_rates(acme: Acme):
    found = usage.totals(acme.reach, MAY)

    assert (found, found.success_rate, found.first_byte_average) == (Totals(), None, None)
    assert usage.by_model(acme.reach, MAY) == usage.by_key(acme.reach, MAY) == usage.by_member(acme.reach, MAY) == []


def test_by_day_has_every_day(acme: Acme):
    acme.used(acme.laptop, date(2026, 5, 2), 5)
    acme.used(acme.server, date(2026, 5, 2), 6)
    acme.used(acme.server, date(2026, 5, 4), 7)

    days = usage.by_day(acme.reach, Period(date(2026, 5, 1), date(2026, 5, 4)))

    assert [(row.day.day, row.totals.requests, row.totals.cost_nanos) for row in days] == [
        (1, 0, 0),
        (2, 2, 11),
        (3, 0, 0),
        (4, 1, 7),
    ]


def test_by_model_the_dearest_first_and_no_more_than_asked_for(acme: Acme):
    for model, cost, requests in (("a", 5, 1), ("b", 50, 1), ("c", 0, 3), ("d", 0, 9)):
        acme.used(acme.laptop, date(2026, 5, 2), cost, model=model, requests=requests)

    assert [row.model for row in usage.by_model(acme.reach, MAY)] == ["b", "a", "d", "c"]
    assert [row.model for row in usage.by_model(acme.reach, MAY, limit=2)] == ["b", "a"]


def test_by_key_keeps_deleted_keys_and_puts_the_playgrounds_together(acme: Acme):
    acme.used(acme.laptop, date(2026, 5, 2), 5)
    acme.used(acme.carols, date(2026, 5, 2), 50)
    acme.used(acme.play, date(2026, 5, 2), 3)
    acme.used(acme.play_again, date(2026, 5, 3), 4)
    acme.used(acme.foreign, date(2026, 5, 3), 4_000)

    rows = usage.by_key(acme.reach, MAY)

    assert [(r.api_key_id, r.name, r.deleted, r.playground, r.totals.cost_nanos) for r in rows] == [
        (acme.carols.pk, "carol", True, False, 50),
        (None, "", False, True, 7),
        (acme.laptop.pk, "laptop", False, False, 5),
    ]
    assert rows[0].user_id == acme.carol.pk


def test_by_member_is_by_the_users_of_keys(acme: Acme):
    acme.used(acme.laptop, date(2026, 5, 2), 5)
    acme.used(acme.server, date(2026, 5, 2), 6)
    acme.used(acme.carols, date(2026, 5, 2), 1)
    acme.used(acme.play_again, date(2026, 5, 3), 4)

    rows = usage.by_member(acme.reach, MAY)

    assert [(r.user_id, r.email, r.name, r.totals.cost_nanos, r.totals.requests) for r in rows] == [
        (acme.alice.pk, "alice@example.com", "Alice", 11, 2),
        (acme.carol.pk, "carol@example.com", "", 5, 2),
    ]


def test_a_plain_member_sees_what_their_own_keys_used_deleted_and_playgrounds_too(acme: Acme):
    acme.used(acme.laptop, date(2026, 5, 2), 5)
    acme.used(acme.carols, date(2026, 5, 2), 50)
    acme.used(acme.play_again, date(2026, 5, 3), 4)
    member = Membership.objects.get(user=acme.carol, organization=acme.organization)

    reach = reach_of(member, "logs.all")

    assert reach == acme.carols_reach
    assert usage.totals(reach, MAY).cost_nanos == 54
    assert [row.user_id for row in usage.by_member(reach, MAY)] == [acme.carol.pk]
    assert [row.api_key_id for row in usage.by_key(reach, MAY)] == [acme.carols.pk, None]
    assert sum(row.totals.cost_nanos for row in usage.by_day(reach, MAY)) == 54
    assert [row.totals.cost_nanos for row in usage.by_model(reach, MAY)] == [54]


def test_operators_see_organizations_and_channels(acme: Acme):
    acme.used(acme.laptop, date(2026, 5, 2), 5, channel_id=1, upstream_cost_nanos=1)
    acme.used(acme.foreign, date(2026, 5, 2), 6, channel_id=2)
    acme.used(acme.laptop, date(2026, 5, 3), 0, channel_id=0, failures=1)

    assert usage.totals(EVERYBODY, MAY).cost_nanos == 11
    assert [(r.organization_id, r.name, r.totals.requests) for r in usage.by_organization(MAY)] == [
        (acme.other.pk, "Other", 1),
        (acme.organization.pk, "Acme", 2),
    ]
    assert [r.name for r in usage.by_organization(MAY, limit=1)] == ["Other"]
    assert [(r.channel_id, r.totals.cost_nanos) for r in usage.by_channel(MAY)] == [(2, 6), (1, 5), (0, 0)]


def test_spending_counts_what_waits_for_settlement(acme: Acme):
    today = date(2026, 5, 14)
    for day, cost in ((today, 1), (date(2026, 5, 1), 20), (date(2026, 4, 30), 300), (date(2026, 4, 1), 4_000)):
        acme.used(acme.laptop, day, cost)
    acme.used(acme.laptop, date(2026, 3, 31), 9)
    for name, key, moment, captured in (
        ("r1", acme.laptop, datetime(2026, 5, 14, tzinfo=UTC), True),
        ("r2", acme.laptop, datetime(2026, 5, 13, 23, 59, tzinfo=UTC), True),
        ("r3", acme.laptop, datetime(2026, 4, 30, 23, 59, tzinfo=UTC), True),
        ("r4", acme.carols, datetime(2026, 5, 14, 1, tzinfo=UTC), True),
        ("r5", acme.laptop, datetime(2026, 5, 14, 1, tzinfo=UTC), False),
        ("r6", acme.foreign, datetime(2026, 5, 14, 1, tzinfo=UTC), True),
    ):
        Hold.objects.create(
            request_id=name,
            wallet_id=key.organization_id,
            api_key_id=key.pk,
            amount_nanos=10_000,
            captured=captured,
            created_at=moment,
        )

    assert usage.spending(acme.reach, today) == usage.Spending(day=20_001, month=30_021, last_month=14_300)
    assert usage.spending(acme.carols_reach, today) == usage.Spending(day=10_000, month=10_000, last_month=0)
    assert usage.spending(EVERYBODY, today).day == 30_001
    of_key = spending_of_key(organization_id=acme.organization.pk, api_key_id=acme.laptop.pk, today=today)
    carols = spending_of_key(organization_id=acme.organization.pk, api_key_id=acme.carols.pk, today=today)
    assert (of_key.day + carols.day, of_key.month + carols.month) == (20_001, 30_021)


def test_last_month_of_january_is_december(acme: Acme):
    acme.used(acme.laptop, date(2025, 12, 31), 7)

    assert usage.spending(acme.reach, date(2026, 1, 31)) == usage.Spending(day=0, month=0, last_month=7)


def test_a_charge_that_is_being_settled_counts_once(bank: Bank):
    bank.credit(100_000)
    bank.run(*[bank.hold(f"r{n:03}", 7) for n in range(60)])
    bank.run(*[bank.capture(f"r{n:03}", 7, 7) for n in range(60)])
    today, reach, seen = date(2026, 5, 14), Reach(bank.acme, None), set()

    def read() -> None:
        while Hold.objects.filter(captured=True).exists():
            seen.add(usage.spending(reach, today).day)
        seen.add(usage.spending(reach, today).day)

    in_threads(read, settle, read)

    assert seen == {420}


def test_periods():
    assert usage.last_days(30, date(2026, 3, 1)) == Period(date(2026, 1, 31), date(2026, 3, 1))
    assert usage.last_days(30, date(2026, 3, 1)).days == 30
    assert usage.month_of(date(2024, 2, 11)) == Period(date(2024, 2, 1), date(2024, 2, 29))
    assert usage.month_of(date(2026, 12, 31)) == Period(date(2026, 12, 1), date(2026, 12, 31))
    assert Period(date(2026, 5, 11), date(2026, 5, 20)).before == Period(date(2026, 5, 1), date(2026, 5, 10))
