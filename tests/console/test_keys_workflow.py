"""A key, its group and its limit as one thing: what members may do with whose keys, and that it is all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiKey, AuditEntry, Membership
from accounts.selectors import key_by_digest, reach_of
from accounts.services import create_user, remove_member
from billing.models import Budget, DayTotal, Hold, UsageRecord
from billing.reports.arithmetic import plain_decimal
from billing.services import save_budget
from channels_app.models import CatalogueModel, Channel, ModelGroup
from channels_app.services import save_channel, save_group, save_model
from costrouter.lib import ids
from costrouter.lib.crypto import key_digest
from costrouter.members import keys
from costrouter.members.key_rows import DISABLED, EXPIRED, LIMIT_REACHED, ROTATING, key_rows
from costrouter.members.keys import KeySpec
from tests.cast.world import USD, World


class Cast:
    """Alice owns an organization, Carol is a plain member of it, Bob is a stranger. Two groups serve a model each."""

    def __init__(self) -> None:
        self.world = World()
        self.organization = self.world.organization
        self.carol = create_user(email="carol@example.com")
        self.owner = Membership.objects.get(organization=self.organization, user=self.world.alice)
        self.member = Membership.objects.create(organization=self.organization, user=self.carol, role="member")
        self.stranger = Membership.objects.get(user=self.world.bob)
        self.cheap = save_group(group=ModelGroup(name="cheap", rate="0.5"))
        self.closed = save_group(group=ModelGroup(name="closed", is_public=False), organizations=[self.world.bobs])
        small = save_model(model=CatalogueModel(name="small"))
        for group, model in ((self.world.group, self.world.model), (self.cheap, small), (self.closed, small)):
            save_channel(
                channel=Channel(name=group.name, base_url="https://upstream.example/v1"),
                groups=[group],
                models={model: ""},
            )


@pytest.fixture
def cast(db: None) -> Cast:
    return Cast()


def problems(action: Callable[[], object]) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        action()
    found: dict[str, list[str]] = caught.value.message_dict
    return found


def knows(secret: str) -> bool:
    """Whether the relay would find a key by this secret."""
    from django.conf import settings

    return key_by_digest(key_digest(settings.KEY_HASH_SECRET, secret)) is not None


def test_a_key_and_its_limit_are_made_together(cast: Cast) -> None:
    until = timezone.now() + timedelta(days=1)
    spec = KeySpec(
        name=" Notebook ",
        group="cheap",
        allowed_models=("small", "small"),
        allowed_ips=("203.0.113.0/24",),
        expires_at=until,
        limit_nanos=5 * USD,
        window="week",
        requests_per_minute=10,
        tokens_per_minute=1000,
        concurrent_requests=2,
    )

    key, secret = keys.create_key(member=cast.member, spec=spec)

    key.refresh_from_db()
    assert (key.user, key.organization, key.name, key.group) == (cast.carol, cast.organization, "Notebook", "cheap")
    assert (key.allowed_models, key.allowed_ips, key.expires_at) == (["small"], ["203.0.113.0/24"], until)
    assert (key.requests_per_minute, key.tokens_per_minute, key.concurrent_requests) == (10, 1000, 2)
    budget = Budget.objects.get(api_key=key)
    assert (budget.organization, budget.user, budget.limit_nanos, budget.window) == (
        cast.organization,
        None,
        5 * USD,
        "week",
    )
    assert knows(secret)
    assert keys.spec_of(key) == KeySpec(
        **{
            **{name: getattr(spec, name) for name in KeySpec.__dataclass_fields__},
            "name": "Notebook",
            "allowed_models": ("small",),
        }
    )
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True))[-2:] == [
        "api_key.created",
        "budget.created",
    ]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "  "}, "name"),
        ({"group": "closed"}, "group"),
        ({"group": "nowhere"}, "group"),
        ({"allowed_models": ("small",)}, "allowed_models"),
        ({"allowed_ips": ("not an address",)}, "allowed_ips"),
        ({"expires_at": "past"}, "expires_at"),
        ({"limit_nanos": 1, "window": "year"}, "window"),
        ({"limit_nanos": -1}, "limit_nanos"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
    ],
)
def test_what_would_fail_at_the_first_request_is_refused_and_makes_nothing(
    cast: Cast, given: dict[str, Any], field: str
) -> None:
    if given.get("expires_at") == "past":
        given = {"expires_at": timezone.now() - timedelta(seconds=1)}
    before = ApiKey.objects.count(), Budget.objects.count(), AuditEntry.objects.count()

    found = problems(lambda: keys.create_key(member=cast.member, spec=KeySpec(**{"name": "k", **given})))

    assert set(found) == {field}
    assert (ApiKey.objects.count(), Budget.objects.count(), AuditEntry.objects.count()) == before


def test_a_change_replaces_settings_and_limit_and_keeps_what_was_spent(cast: Cast) -> None:
    key, secret = keys.create_key(member=cast.member, spec=KeySpec(name="a", limit_nanos=5 * USD, window="month"))
    Budget.objects.filter(api_key=key).update(spent_nanos=7, window_start="2026-11-01")

    keys.change_key(member=cast.member, key=key, spec=KeySpec(name="b", limit_nanos=9 * USD, window="month"))

    budget = Budget.objects.get(api_key=key)
    assert (budget.limit_nanos, budget.spent_nanos) == (9 * USD, 7)
    key.refresh_from_db()
    assert key.name == "b"
    assert knows(secret)

    keys.change_key(member=cast.owner, key=key, spec=KeySpec(name="b"))
    assert not Budget.objects.filter(api_key=key).exists()


def test_what_a_key_has_may_stay_though_it_could_not_be_chosen_now(cast: Cast) -> None:
    """A model that is gone, a date that has passed, a group that was closed: none keeps a key from being renamed."""
    key, _ = keys.create_key(member=cast.member, spec=KeySpec(name="a"))
    past = timezone.now() - timedelta(days=1)
    ApiKey.objects.filter(pk=key.pk).update(allowed_models=["gone"], expires_at=past, group="default")
    key.refresh_from_db()

    keys.change_key(member=cast.member, key=key, spec=KeySpec(name="b", allowed_models=("gone",), expires_at=past))
    key.refresh_from_db()
    assert (key.name, key.allowed_models, key.expires_at) == ("b", ["gone"], past)

    moved = KeySpec(name="b", allowed_models=("gone",), expires_at=past, group="cheap")
    assert set(problems(lambda: keys.change_key(member=cast.member, key=key, spec=moved))) == {"allowed_models"}


def test_an_operators_further_budget_is_left_alone(cast: Cast) -> None:
    key, _ = keys.create_key(member=cast.member, spec=KeySpec(name="a", limit_nanos=5, window="day"))
    save_budget(budget=Budget(organization=cast.organization, api_key=key, limit_nanos=3, window="month"))

    keys.change_key(member=cast.member, key=key, spec=KeySpec(name="a", limit_nanos=6, window="day"))

    rows = Budget.objects.filter(api_key=key).order_by("pk").values_list("limit_nanos", "window")
    assert list(rows) == [(6, "day"), (3, "month")]


def test_rotation_gives_a_new_secret_beside_the_old_one(cast: Cast) -> None:
    key, old = keys.create_key(member=cast.member, spec=KeySpec(name="a"))

    new = keys.rotate_key(member=cast.member, key=key, overlap=timedelta(hours=1))

    assert new != old and knows(new) and knows(old)
    again = keys.rotate_key(member=cast.owner, key=key, overlap=timedelta(0))
    assert (knows(again), knows(new), knows(old)) == (True, False, False)
    assert set(problems(lambda: keys.rotate_key(member=cast.member, key=key, overlap=timedelta(days=8)))) == {"overlap"}
    assert knows(again)


def test_a_key_is_disabled_enabled_and_deleted(cast: Cast) -> None:
    key, secret = keys.create_key(member=cast.member, spec=KeySpec(name="a", limit_nanos=5))

    assert keys.set_key_enabled(member=cast.member, key=key, enabled=False)
    assert not keys.set_key_enabled(member=cast.member, key=key, enabled=False)
    assert not ApiKey.objects.get(pk=key.pk).enabled
    assert keys.set_key_enabled(member=cast.owner, key=key, enabled=True)

    keys.delete_key(member=cast.member, key=key)
    assert not knows(secret)
    assert ApiKey.objects.get(pk=key.pk).deleted_at is not None
    assert not Budget.objects.filter(api_key_id=key.pk).exists()
    assert keys.find_key(member=cast.owner, key_id=key.pk) is None
    assert AuditEntry.objects.latest("id").action == "api_key.deleted"


def test_the_key_of_somebody_who_left_stays_off(cast: Cast) -> None:
    key, _ = keys.create_key(member=cast.member, spec=KeySpec(name="notebook"))
    remove_member(actor=cast.owner, target=cast.member)

    with pytest.raises(ValidationError, match="no longer a member"):
        keys.set_key_enabled(member=cast.owner, key=key, enabled=True)

    key.refresh_from_db()
    assert not key.enabled
    assert not AuditEntry.objects.filter(action="api_key.enabled").exists()


def test_nobody_touches_a_key_beyond_their_reach(cast: Cast) -> None:
    """A plain member another member's, anybody another organization's; also with a key that was found elsewhere."""
    mine = cast.world.key
    before = ApiKey.objects.filter(pk=mine.pk).values().get()
    for member in (cast.member, cast.stranger):
        for act in (
            lambda m: keys.change_key(member=m, key=mine, spec=KeySpec(name="taken")),
            lambda m: keys.rotate_key(member=m, key=mine, overlap=timedelta(0)),
            lambda m: keys.set_key_enabled(member=m, key=mine, enabled=False),
            lambda m: keys.delete_key(member=m, key=mine),
        ):
            with pytest.raises(PermissionDenied):
                act(member)
        assert keys.find_key(member=member, key_id=mine.pk) is None
    assert ApiKey.objects.filter(pk=mine.pk).values().get() == before
    assert keys.find_key(member=cast.owner, key_id=mine.pk) == mine


def test_groups_are_those_that_admit_the_organization_with_their_models(cast: Cast) -> None:
    def seen(organization_id: int) -> list[tuple[str, str, tuple[str, ...]]]:
        return [(group.name, plain_decimal(group.rate), group.models) for group in keys.usable_groups(organization_id)]

    both = [("cheap", "0.5", ("small",)), ("default", "1", ("double-1",))]
    assert seen(cast.organization.pk) == both
    assert seen(cast.world.bobs.pk) == [both[0], ("closed", "1", ("small",)), both[1]]


def test_a_snippet_names_a_model_that_chats(cast: Cast) -> None:
    cast.world.new_model("pictures", images="1")
    assert keys.chat_model(["pictures", "double-1"]) == "double-1"
    assert keys.chat_model(["pictures", "unknown"]) == ""


# Lists


def test_a_row_says_what_a_key_has_spent_and_how_it_stands(cast: Cast) -> None:
    now = timezone.now()
    key, _ = keys.create_key(member=cast.member, spec=KeySpec(name="a", limit_nanos=100, window="total"))
    Budget.objects.filter(api_key=key).update(spent_nanos=30, held_nanos=5)
    last_year = now.date() - timedelta(days=400)
    for day, cost in ((now.date(), 20), (last_year, 3)):
        DayTotal.objects.create(day=day, organization=cast.organization, api_key_id=key.pk, model="m", cost_nanos=cost)
    Hold.objects.create(
        request_id="req_1", wallet_id=cast.organization.pk, api_key_id=key.pk, amount_nanos=4, captured=True
    )
    for hours in (2, 1):
        at = now - timedelta(hours=hours)
        UsageRecord.objects.create(
            request_id=ids.request_id_at(at), organization=cast.organization, api_key=key, created_at=at, status="ok"
        )

    [row] = key_rows(reach_of(cast.member, "keys.all"))

    assert (row.key, row.status) == (key, "active")
    assert (row.spent.day, row.spent.month, row.spent.total) == (24, 24, 27)
    assert row.limit is not None and (row.limit.spent, row.limit.limit, row.limit.remaining) == (30, 100, 65)
    assert row.limit_high == 80
    assert row.last_used_at == now - timedelta(hours=1)


def test_a_rows_status_is_what_a_request_would_meet(cast: Cast) -> None:
    now = timezone.now()
    key, _ = keys.create_key(member=cast.member, spec=KeySpec(name="a", limit_nanos=100))

    def status(**changed: Any) -> str:
        ApiKey.objects.filter(pk=key.pk).update(**changed)
        return key_rows(reach_of(cast.member, "keys.all"))[0].status

    assert status(previous_expires_at=now - timedelta(hours=1)) == "active"
    assert status(previous_expires_at=now + timedelta(hours=1)) == ROTATING
    Budget.objects.filter(api_key=key).update(spent_nanos=100)
    assert status() == LIMIT_REACHED
    assert status(expires_at=now) == EXPIRED
    assert status(enabled=False) == DISABLED


def test_a_limit_of_an_earlier_day_is_not_reached_today(cast: Cast) -> None:
    key, _ = keys.create_key(member=cast.member, spec=KeySpec(name="a", limit_nanos=100, window="day"))
    Budget.objects.filter(api_key=key).update(spent_nanos=100, window_start=timezone.now().date() - timedelta(days=1))

    [row] = key_rows(reach_of(cast.member, "keys.all"))

    assert row.status == "active" and row.limit is not None and row.limit.spent == 0


def test_rows_are_those_within_reach_and_take_four_queries(cast: Cast) -> None:
    for number in range(8):
        keys.create_key(member=cast.member, spec=KeySpec(name=f"k{number}", limit_nanos=5))
    ApiKey.objects.create(
        organization=cast.organization, user=cast.carol, name="play", prefix="sk-", digest="d", purpose="playground"
    )

    assert [row.key.name for row in key_rows(reach_of(cast.member, "keys.all"))] == [f"k{n}" for n in range(7, -1, -1)]
    assert [row.key.name for row in key_rows(reach_of(cast.stranger, "keys.all"))] == ["test"]
    with CaptureQueriesContext(connection) as queries:
        rows = key_rows(reach_of(cast.owner, "keys.all"))
    assert len(rows) == 9
    assert len(queries) == 4
