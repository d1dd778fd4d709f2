"""The periods that pages of usage offer: the last days, or a month. Days are UTC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from django.utils.translation import gettext_lazy as _

from billing.reports.usage import Period, last_days, month_of


def today_utc() -> date:
    """The day that is being counted."""
    return datetime.now(UTC).date()


def _last_month(today: date) -> Period:
    return month_of(today.replace(day=1) - timedelta(days=1))


def _this_month(today: date) -> Period:
    return Period(today.replace(day=1), today)


# Name in the address → what it is called, and its days.
PERIODS: dict[str, tuple[Any, Callable[[date], Period]]] = {
    "7": (_("7 days"), partial(last_days, 7)),
    "30": (_("30 days"), partial(last_days, 30)),
    "90": (_("90 days"), partial(last_days, 90)),
    "month": (_("This month"), _this_month),
    "last-month": (_("Last month"), _last_month),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen period. `options`: (name, title) of those one may choose; `rolling`: the days before compare with it."""

    name: str
    title: Any
    period: Period
    options: tuple[tuple[str, Any], ...]

    @property
    def rolling(self) -> bool:
        return self.name.isdecimal()


def chosen(name: str | None, today: date, *, offered: tuple[str, ...] = tuple(PERIODS), default: str = "30") -> Choice:
    """The period that an address asks for; the default where it asks for none that is offered."""
    name = name if name in offered else default
    title, days = PERIODS[name]
    return Choice(name, title, days(today), tuple((option, PERIODS[option][0]) for option in offered))
