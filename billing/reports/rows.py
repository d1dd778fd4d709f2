"""What reads of usage return: a period of days, sums, and the rows of breakdowns. Amounts are nanos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from costrouter.lib.units import UNITS

# Classes of tokens, as people read them. Reasoning is a part of the output.
INPUT = ("input", "audio_in", "image_in")
CACHE = ("cache_read", "cache_write_5m", "cache_write_1h")
OUTPUT = ("output", "audio_out", "image_out")
COUNTED = (
    *("requests", "failures", "cost_nanos", "upstream_cost_nanos", "overrun_nanos", "overruns"),
    *("first_byte_ms", "timed"),
)


@dataclass(frozen=True, slots=True)
class Period:
    """Days (UTC), the first and the last included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many."""
        return (self.last - self.first).days + 1

    def each(self) -> Iterator[date]:
        """Every day, the first one first."""
        return (self.first + timedelta(days=number) for number in range(self.days))

    @property
    def before(self) -> Period:
        """As many days, just before."""
        return Period(self.first - timedelta(days=self.days), self.first - timedelta(days=1))


def last_days(days: int, today: date) -> Period:
    """The last `days` days, today included."""
    return Period(today - timedelta(days=days - 1), today)


def month_of(day: date) -> Period:
    """The whole month that a day is in."""
    first = day.replace(day=1)
    return Period(first, (first + timedelta(days=32)).replace(day=1) - timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over settled requests. `upstream_cost_nanos` and the overruns are for operators' eyes.

    `first_byte_ms` is a sum over `timed` requests. `units`: unit → quantity, of `costrouter.lib.units.UNITS`.
    """

    requests: int = 0
    failures: int = 0
    cost_nanos: int = 0
    upstream_cost_nanos: int = 0
    overrun_nanos: int = 0
    overruns: int = 0
    first_byte_ms: int = 0
    timed: int = 0
    units: dict[str, int] = field(default_factory=dict)

    @property
    def success_rate(self) -> float | None:
        """0 to 1; None without requests."""
        return (self.requests - self.failures) / self.requests if self.requests else None

    @property
    def first_byte_average(self) -> int | None:
        """Milliseconds to the first byte, on average; None where none was measured."""
        return round(self.first_byte_ms / self.timed) if self.timed else None

    @property
    def margin_nanos(self) -> int:
        """What was charged less what it cost at the upstreams."""
        return self.cost_nanos - self.upstream_cost_nanos

    @property
    def input_tokens(self) -> int:
        """Tokens that were sent, without those read from or written to a cache."""
        return self._sum(INPUT)

    @property
    def cached_tokens(self) -> int:
        """Tokens read from a cache or written to it."""
        return self._sum(CACHE)

    @property
    def output_tokens(self) -> int:
        """Tokens that were made, reasoning among them."""
        return self._sum(OUTPUT)

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.input_tokens + self.cached_tokens + self.output_tokens

    def _sum(self, names: Iterable[str]) -> int:
        return sum(self.units.get(name, 0) for name in names)

    def __add__(self, other: Totals) -> Totals:
        plain = {name: getattr(self, name) + getattr(other, name) for name in COUNTED}
        names = self.units.keys() | other.units.keys()
        units = {name: self.units.get(name, 0) + other.units.get(name, 0) for name in UNITS if name in names}
        return Totals(**plain, units=units)


@dataclass(frozen=True, slots=True)
class DayUsage:
    """A day, with or without requests."""

    day: date
    totals: Totals


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """A model, by the name that was asked for."""

    model: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """A key; those of the playground are one row, without a number."""

    api_key_id: int | None
    name: str
    prefix: str
    playground: bool
    deleted: bool
    user_id: int | None
    totals: Totals


@dataclass(frozen=True, slots=True)
class MemberUsage:
    """A member, or one who was: whose keys were used."""

    user_id: int | None
    email: str
    name: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class OrganizationUsage:
    """An organization."""

    organization_id: int
    name: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class ChannelUsage:
    """A channel, by number: 0 stands for requests that no channel answered. Names are the caller's to look up."""

    channel_id: int
    totals: Totals


@dataclass(frozen=True, slots=True)
class Spending:
    """What was charged on a day, in its month and in the month before (UTC), in nanos; what waits to settle, too."""

    day: int
    month: int
    last_month: int
