"""Whatever happens in whatever order: the books balance, and a wallet is never granted what it does not have.

Random histories of several organizations run against the database and against `Model`, a wallet of a few lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import Budget, DayTotal, LedgerEntry, UsageRecord
from billing.settlement import settle
from billing.sweep import sweep
from billing.totals import rebuild_totals, sum_by_day
from billing.writing import leases
from billing.writing.items import CaptureItem, Granted, HoldItem
from tests.cast.examples import examples
from tests.cast.money import Bank, bank_fixture  # noqa: F401

OWNERS = 3
LIMIT = 600


@dataclass
class Open:
    owner: int
    amount: int
    lease: int


@dataclass
class Model:
    """What the design says, in the simplest terms. Only owner 0 is under a budget."""

    balance: list[int]
    credit: list[int]
    spent: int = 0
    open: dict[str, Open] = field(default_factory=dict)
    captured: dict[str, tuple[int, int]] = field(default_factory=dict)
    interrupted: dict[str, Open] = field(default_factory=dict)

    def held(self, owner: int) -> int:
        opened = sum(hold.amount for hold in self.open.values() if hold.owner == owner)
        return opened + sum(cost for whose, cost in self.captured.values() if whose == owner)

    def available(self, owner: int) -> int:
        wallet = self.balance[owner] + self.credit[owner] - self.held(owner)
        return wallet if owner else min(wallet, LIMIT - self.spent - self.budget_held())

    def budget_held(self) -> int:
        return sum(hold.amount for hold in self.open.values() if hold.owner == 0)

    def hold(self, request: str, owner: int, minimum: int, want: int, lease: int) -> int | None:
        available = self.available(owner)
        if want == 0:
            amount = 0
        elif available < 0 or minimum > available:
            return None
        elif want * 8 <= available:
            amount = want
        else:
            amount = min(want, max(minimum, available // 8))
        self.open[request] = Open(owner, amount, lease)
        return amount

    def capture(self, request: str, cost: int) -> None:
        hold = self.open.pop(request, None) or self.interrupted.pop(request, None)
        if hold is not None:
            self.captured[request] = (hold.owner, cost)
            self.spent += cost if hold.owner == 0 else 0

    def settle(self) -> None:
        for owner, cost in self.captured.values():
            self.balance[owner] -= cost
        self.captured.clear()

    def sweep(self, lease: int) -> None:
        for request in [request for request, hold in self.open.items() if hold.lease == lease]:
            self.interrupted[request] = self.open.pop(request)


amounts = st.integers(0, 400)
owners = st.integers(0, OWNERS - 1)
holds = st.tuples(st.just("hold"), owners, amounts, st.integers(0, 100), st.integers(0, 1))
captures = st.tuples(st.just("capture"), st.integers(0, 30), amounts, st.booleans())
batches = st.tuples(st.just("batch"), st.lists(holds | captures, min_size=1, max_size=6), st.booleans())
steps = (
    batches
    | st.tuples(st.just("settle"))
    | st.tuples(st.just("sweep"), st.integers(0, 1))
    | st.tuples(st.just("money"), owners, st.integers(-300, 500))
)


class History:
    """One random history, in step with the model."""

    def __init__(self, bank: Bank, number: int) -> None:
        self.bank = bank
        self.number = number
        self.owners = [bank.organization(800), bank.organization(0, credit=500), bank.organization(300)]
        self.model = Model(balance=[800, 0, 300], credit=[0, 500, 0])
        self.budget = bank.budget(LIMIT, number=self.owners[0])
        self.leases = [leases.take(), leases.take()]
        self.granted: dict[str, tuple[int, int]] = {}
        self.made = 0

    def batch(self, given: list[tuple], replayed: bool) -> None:
        """A batch as the writer makes it: the captures first, then the holds in order. Perhaps once more."""
        known = list(self.granted.items())
        items: list[HoldItem | CaptureItem] = []
        for kind, *rest in given:
            items += [self.hold(*rest)] if kind == "hold" else self.capture(known, *rest)
        for item in items:
            if isinstance(item, CaptureItem):
                self.model.capture(item.record.request_id, item.record.cost_nanos)
        expected = [self.expect(item) if isinstance(item, HoldItem) else None for item in items]

        outcomes = self.bank.run(*items)

        assert [o.amount if isinstance(o, Granted) else None for o in outcomes] == expected
        for item, amount in zip(items, expected, strict=True):
            if isinstance(item, HoldItem) and amount is not None:
                self.granted[item.request_id] = self.owners.index(item.organization_id), amount
        if replayed:
            again = self.bank.run(*items)
            assert [o.amount if isinstance(o, Granted) else None for o in again] == expected

    def hold(self, owner: int, want: int, minimum: int, lease: int) -> HoldItem:
        self.made += 1
        return self.bank.hold(
            f"h{self.number:04}-{self.made:04}",
            want,
            min(minimum, want),
            organization_id=self.owners[owner],
            lease_id=self.leases[lease],
            budget_ids=() if owner else (self.budget,),
        )

    def expect(self, item: HoldItem) -> int | None:
        owner = self.owners.index(item.organization_id)
        lease = self.leases.index(item.lease_id)
        before = self.model.available(owner)
        amount = self.model.hold(item.request_id, owner, item.minimum, item.want, lease)
        assert amount is None or amount == 0 or 0 <= self.model.available(owner) == before - amount
        return amount

    def capture(self, known: list, pick: int, cost: int, aware: bool) -> list[CaptureItem]:
        if not known:
            return []
        request, (owner, amount) = known[pick % len(known)]
        budget_ids = () if owner else (self.budget,)
        return [
            self.bank.capture(request, cost, amount, budget_ids, organization_id=self.owners[owner])
            if aware
            else self.unaware(request, cost, amount, owner, budget_ids)
        ]

    def unaware(self, request: str, cost: int, amount: int, owner: int, budget_ids: tuple[int, ...]) -> CaptureItem:
        """A capture that lost its grant: only a release, at no cost, ever does."""
        item = self.bank.capture(request, cost, amount, budget_ids, organization_id=self.owners[owner])
        item.granted = None
        return item

    def settle(self) -> None:
        assert settle() == len(self.model.captured)
        self.model.settle()

    def sweep(self, lease: int) -> None:
        self.bank.expire_lease(self.leases[lease])
        before = len(self.model.open)
        self.model.sweep(lease)
        assert sweep() == before - len(self.model.open)
        self.leases[lease] = leases.take()

    def money(self, owner: int, nanos: int) -> None:
        self.bank.credit(nanos, self.owners[owner])
        self.model.balance[owner] += nanos

    def compare(self) -> None:
        for owner, number in enumerate(self.owners):
            assert self.bank.wallet(number) == (self.model.balance[owner], self.model.held(owner))
        row = Budget.objects.get(pk=self.budget)
        assert (row.spent_nanos, row.held_nanos) == (self.model.spent, self.model.budget_held())


@settings(max_examples=examples(20), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=st.lists(steps, max_size=14))
def test_books_and_model_agree_whatever_happens(bank: Bank, history):
    run = History(bank, bank._entries)

    for name, *arguments in history:
        getattr(run, name)(*arguments)
        run.compare()

    assert bank.breaches() == []
    for lease in (0, 1):
        run.sweep(lease)
    run.settle()
    run.compare()
    assert bank.holds() == {}
    assert bank.breaches() == []


def day_totals() -> list[dict]:
    rows = DayTotal.objects.order_by("day", "organization_id", "model", "api_key_id", "channel_id")
    return [{name: value for name, value in row.items() if name != "id"} for row in rows.values()]


@settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=st.lists(steps, min_size=4, max_size=10))
def test_ledger_and_day_totals_can_be_rebuilt_from_the_records(bank: Bank, history):
    run = History(bank, bank._entries)
    for name, *arguments in history:
        getattr(run, name)(*arguments)
    before = day_totals()
    rebuild_totals()  # with charges that wait, and interrupted requests
    assert day_totals() == before
    run.settle()
    before = day_totals()
    rebuild_totals()
    assert day_totals() == before

    for number in run.owners:
        charged = sum(LedgerEntry.objects.filter(wallet=number, kind="usage").values_list("amount_nanos", flat=True))
        costs = sum(UsageRecord.objects.filter(organization=number).values_list("cost_nanos", flat=True))
        assert -charged == costs
        settled = UsageRecord.objects.filter(organization=number).exclude(status="interrupted")
        rebuilt = {key[0]: total["cost_nanos"] for key, total in sum_by_day(settled).items()}
        kept = DayTotal.objects.filter(organization=number).values_list("day", "cost_nanos")
        assert {day.isoformat(): nanos for day, nanos in kept} == rebuilt
    for lease in (0, 1):
        run.sweep(lease)
    assert bank.breaches() == []
