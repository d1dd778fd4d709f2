"""A believable past, made up and written fast: organizations, keys, and requests with their money. For measurements.

What is written is what the product would have written: records, ledger entries of settlement, day totals, balances. So
`reconcile` and `rebuild_totals --check` hold of it. The numbers are the same for the same arguments and day.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import connection, transaction

from accounts.models import ApiKey, Membership, Organization, User
from billing.models import DayTotal, LedgerEntry, UsageRecord, Wallet
from billing.totals import COUNTED, KEYS
from channels_app.services import default_group
from costrouter.lib.money import NANOS_PER_USD
from costrouter.setup.bulk import insert
from costrouter.setup.shapes import Shape, shapes

RECORD_COLUMNS = tuple(str(column.column) for column in UsageRecord._meta.concrete_fields)
ENTRY_COLUMNS = ("wallet_id", "kind", "amount_nanos", "limit_change_nanos", "requests", "idempotency_key", "note")
MOST_IN_ENTRY = 8  # requests that one settlement finds of an organization


@dataclass
class Tenant:
    """An organization of the past: its keys, each with the shapes of its requests; and its money so far."""

    organization: Organization
    owner: User
    keys: list[tuple[ApiKey, list[Shape]]] = field(default_factory=list)
    waiting: list[tuple[str, int]] = field(default_factory=list)
    charged: int = 0


def seed(
    *, records: int, organizations: int, days: int, say: Callable[[str], None] = lambda text: None
) -> list[Tenant]:
    """Write it all in one transaction; the tenants, the one with most usage first."""
    dice = random.Random(f"{records} {organizations} {days} {UsageRecord.objects.count()}")
    with transaction.atomic():
        every_shape = shapes(dice)
        tenants = _tenants(organizations, every_shape, dice)
        say(f"{len(tenants)} organizations with {sum(len(tenant.keys) for tenant in tenants)} keys")
        past = _Past(tenants, dice)
        insert(UsageRecord, RECORD_COLUMNS, past.rows(records, days))
        say(f"{records:,} records")
        count = insert(LedgerEntry, (*ENTRY_COLUMNS, "created_at"), past.entries(days))
        say(f"{count:,} ledger entries")
        count = insert(DayTotal, (*KEYS, *COUNTED), past.totals())
        say(f"{count:,} day totals")
        _wallets(tenants, since=datetime.now(UTC) - timedelta(days=days))
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE)")
    return tenants


def _tenants(count: int, every_shape: list[Shape], dice: random.Random) -> list[Tenant]:
    """Organizations with an owner, members and keys; the first ones are the largest."""
    word = f"{dice.getrandbits(24):06x}"
    password = make_password(None)
    users, teams = [], []
    for number in range(count):
        size = 1 + dice.randrange(4) + (20 if number == 0 else 0)
        team = [User(email=f"{word}-{number}-{at}@seed.example", password=password) for at in range(size)]
        users += team
        teams.append(team)
    User.objects.bulk_create(users, batch_size=1_000)
    made = Organization.objects.bulk_create(
        [Organization(name=f"Seeded {number:04} {word}") for number in range(count)], batch_size=1_000
    )
    tenants = [Tenant(organization, team[0]) for organization, team in zip(made, teams, strict=True)]
    Membership.objects.bulk_create(
        [
            Membership(user=user, organization=tenant.organization, role="member" if at else "owner")
            for tenant, team in zip(tenants, teams, strict=True)
            for at, user in enumerate(team)
        ],
        batch_size=1_000,
    )
    group = default_group().name
    keys = []
    for number, (tenant, team) in enumerate(zip(tenants, teams, strict=True)):
        for at in range(1 + dice.randrange(4) + (30 if number == 0 else 0)):
            secret = f"sk-{dice.getrandbits(256):064x}"
            digest = hashlib.sha256(secret.encode()).hexdigest()
            user = team[at % len(team)]
            key = ApiKey(
                organization=tenant.organization,
                user=user,
                name=f"Key {at + 1}",
                prefix=secret[:11],
                digest=digest,
                group=group,
            )
            keys.append(key)
            models = dice.sample(sorted({shape.model for shape in every_shape}), k=1 + dice.randrange(3))
            tenant.keys.append((key, [shape for shape in every_shape if shape.model in models]))
    ApiKey.objects.bulk_create(keys, batch_size=1_000)
    return tenants


class _Past:
    """Rows as they are made, and what they add up to."""

    def __init__(self, tenants: list[Tenant], dice: random.Random) -> None:
        self.tenants = tenants
        self.dice = dice
        self._totals: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._entries: list[tuple[Any, ...]] = []

    def rows(self, count: int, days: int) -> Iterator[tuple[Any, ...]]:
        """`count` records over the last `days` days, in the order of time."""
        # The first organization has a fifth of it all, the next ones less and less.
        shares = [1 / (number + 3) for number in range(len(self.tenants))]
        choices = iter(self.dice.choices(self.tenants, weights=shares, k=count))
        for moment in _moments(count, days, self.dice):
            tenant = next(choices)
            # Of an organization's keys, too, the first is used most.
            key, own = tenant.keys[int(len(tenant.keys) * self.dice.random() ** 2)]
            yield self._record(moment, tenant, key, self.dice.choice(own))

    def _record(self, moment: datetime, tenant: Tenant, key: ApiKey, shape: Shape) -> tuple[Any, ...]:
        dice = self.dice
        milliseconds = int(moment.timestamp() * 1000)
        request_id = f"req_{milliseconds:012x}7{dice.getrandbits(12):03x}{0x8 | dice.getrandbits(2):x}"
        request_id += f"{dice.getrandbits(60):015x}"
        first = shape.first_byte_ms + dice.randrange(shape.first_byte_ms) if shape.first_byte_ms else None
        charged = shape.cost_nanos
        values = {
            "request_id": request_id,
            "created_at": _stored(moment),
            "organization_id": key.organization_id,
            "user_id": key.user_id,
            "api_key_id": key.pk,
            "client_ip": "203.0.113.7",
            "client_request_id": "",
            "first_byte_ms": first,
            "duration_ms": (first or 5) + dice.randrange(9_000),
            **shape.columns,
        }
        if shape.counts:
            self._count(moment, key, shape, first)
            tenant.charged += charged
            tenant.waiting.append((request_id, charged))
            if len(tenant.waiting) >= 1 + dice.randrange(MOST_IN_ENTRY):
                self._settle(tenant, moment)
        return tuple(values[name] for name in RECORD_COLUMNS)

    def _count(self, moment: datetime, key: ApiKey, shape: Shape, first: int | None) -> None:
        day = moment.astimezone(UTC).date().isoformat()
        total = self._totals[(day, key.organization_id, shape.model, key.pk, shape.columns["channel_id"] or 0)]
        total["requests"] += 1
        total["failures"] += shape.failed
        total["cost_nanos"] += shape.cost_nanos
        total["upstream_cost_nanos"] += shape.columns["upstream_cost_nanos"]
        total["overrun_nanos"] += shape.columns["overrun_nanos"]
        total["overruns"] += shape.columns["overrun_nanos"] > 0
        if first is not None:
            total["first_byte_ms"] += first
            total["timed"] += 1
        for name, quantity in shape.units.items():
            total[name] += quantity

    def _settle(self, tenant: Tenant, moment: datetime) -> None:
        """What waits of a tenant becomes an entry."""
        waiting, tenant.waiting = tenant.waiting, []
        amount = sum(nanos for _, nanos in waiting)
        if amount:
            digest = hashlib.sha256("\n".join(sorted(number for number, _ in waiting)).encode()).hexdigest()
            key = f"usage:{digest}"
            at = _stored(moment + timedelta(seconds=1))
            self._entries.append((tenant.organization.pk, "usage", -amount, 0, len(waiting), key, "", at))

    def entries(self, days: int) -> Iterator[tuple[Any, ...]]:
        """A credit for each organization, before anything was used, then settlement's entries."""
        now = datetime.now(UTC)
        for tenant in self.tenants:
            self._settle(tenant, now)
        first = _stored(now - timedelta(days=days, hours=1))
        for tenant in self.tenants:
            number = tenant.organization.pk
            yield (number, "credit", credit_of(tenant), 0, 0, f"seed:{number}", "Made-up credit", first)
        yield from self._entries

    def totals(self) -> Iterator[tuple[Any, ...]]:
        """The day totals."""
        for key, total in self._totals.items():
            yield (*key, *(total.get(name, 0) for name in COUNTED))


def credit_of(tenant: Tenant) -> int:
    """Whole dollars, a tenth more than what was charged, and ten."""
    return (tenant.charged * 11 // 10 // NANOS_PER_USD + 10) * NANOS_PER_USD


def _wallets(tenants: list[Tenant], *, since: datetime) -> None:
    """What is left to each; and organizations are as old as their past."""
    wallets = [
        Wallet(organization=tenant.organization, balance_nanos=credit_of(tenant) - tenant.charged) for tenant in tenants
    ]
    Wallet.objects.bulk_create(wallets, batch_size=1_000)
    Organization.objects.filter(pk__in=[tenant.organization.pk for tenant in tenants]).update(created_at=since)


def _moments(count: int, days: int, dice: random.Random) -> Iterator[datetime]:
    """`count` moments of the last `days` days in order: more of late, fewer at weekends, most at noon."""
    now = datetime.now(UTC).replace(microsecond=0)
    start = now - timedelta(days=days)
    weights = []
    for number in range(days):
        weekend = (start + timedelta(days=number)).weekday() >= 5
        weights.append((1 + number / days) * (0.5 if weekend else 1))
    counts = [0] * days
    for number in dice.choices(range(days), weights=weights, k=count):
        counts[number] += 1
    for number, in_day in enumerate(counts):
        first = start + timedelta(days=number)
        for second in sorted(dice.triangular(0, 86_399, 43_200) for _ in range(in_day)):
            yield first + timedelta(seconds=second)


def _stored(moment: datetime) -> str:
    """A moment as the database keeps it."""
    if connection.vendor == "postgresql":
        return moment.isoformat(sep=" ")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
