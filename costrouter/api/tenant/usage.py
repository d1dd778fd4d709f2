"""What was used: sums of settled days, and single requests with their arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.utils import timezone
from rest_framework import serializers

from accounts.selectors import Reach, reach_of
from billing.reports import usage
from billing.reports.usage import Period
from costrouter.api.base import Resource, operation
from costrouter.api.fields import In, Out, UsdOut, Whole

MOST_DAYS = 400


class PeriodQuery(In):
    """Days (UTC), both included. Without them: the last 30."""

    first = serializers.DateField(required=False)
    last = serializers.DateField(required=False, help_text="Without it: today.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        last = attrs.get("last", timezone.now().date())
        first = attrs.get("first") or (last if "last" in attrs else usage.last_days(30, last).first)
        if not 2000 <= first.year <= last.year <= 9000:
            raise serializers.ValidationError({"first": "Between the years 2000 and 9000, and not after the last."})
        if not 0 <= (last - first).days < MOST_DAYS:
            raise serializers.ValidationError({"first": f"From 1 to {MOST_DAYS} days."})
        return {**attrs, "period": Period(first, last)}


class TopQuery(PeriodQuery):
    """Days, and how many rows at most."""

    limit = Whole(min_value=1, max_value=100, default=100)


class TotalsOut(Out):
    """Sums over settled requests."""

    requests = serializers.IntegerField()
    failures = serializers.IntegerField()
    success_rate = serializers.FloatField(allow_null=True, help_text="0 to 1; null without requests.")
    cost_usd = UsdOut(source="cost_nanos")
    tokens = serializers.IntegerField()
    input_tokens = serializers.IntegerField(help_text="Without those read from or written to a cache.")
    cached_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField(help_text="Reasoning among them.")
    first_byte_ms = serializers.IntegerField(source="first_byte_average", allow_null=True, help_text="On average.")
    units = serializers.DictField(child=serializers.IntegerField(), help_text="Unit → quantity.")


class SpendingOut(Out):
    """What was charged, settled or not, by the UTC calendar."""

    day_usd = UsdOut(source="day")
    month_usd = UsdOut(source="month")
    last_month_usd = UsdOut(source="last_month")


class Summary(Out):
    """The sums of a period, and what was spent lately."""

    first = serializers.DateField()
    last = serializers.DateField()
    totals = TotalsOut()
    spending = SpendingOut()


class ByDay(Out):
    """A day, with or without requests."""

    day = serializers.DateField()
    totals = TotalsOut()


class ByModel(Out):
    """A model, by the name that was asked for."""

    model = serializers.CharField()
    totals = TotalsOut()


class ByKey(Out):
    """A key. Those of the playground are one row, without a number."""

    key_id = serializers.IntegerField(source="api_key_id", allow_null=True)
    name = serializers.CharField()
    prefix = serializers.CharField()
    playground = serializers.BooleanField()
    deleted = serializers.BooleanField()
    totals = TotalsOut()


class ByMember(Out):
    """Whose keys were used; null where that is not known any more."""

    user_id = serializers.IntegerField(allow_null=True)
    email = serializers.CharField()
    name = serializers.CharField()
    totals = TotalsOut()


def breakdown(row: type[Out]) -> type[Out]:
    """The answer of a breakdown by these rows."""
    return type(
        f"Usage{row.__name__}",
        (Out,),
        {
            "__doc__": "The rows of a period.",
            "first": serializers.DateField(),
            "last": serializers.DateField(),
            "data": row(many=True),
        },
    )


class UsageView(Resource):
    """A path about sums."""

    tag = "Usage"
    rows: ClassVar[Callable[..., Any]]

    @property
    def reach(self) -> Reach:
        """The organization's usage for admins and owners, their own keys' for members."""
        return reach_of(self.member, "logs.all")

    def answer(self, read: Callable[..., Any]) -> dict[str, Any]:
        """A breakdown of the period."""
        period: Period = self.query["period"]
        limit = {"limit": self.query["limit"]} if "limit" in self.query else {}
        return {"first": period.first, "last": period.last, "data": read(self.reach, period, **limit)}


class SummaryView(UsageView):
    """`usage/summary`"""

    @operation(
        "usageSummary", "Sums of a period", scope="usage:read", action="logs.own", query=PeriodQuery, answer=Summary
    )
    def get(self) -> Any:
        """Members see what their own keys used; admins and owners, everybody's."""
        period: Period = self.query["period"]
        return {
            "first": period.first,
            "last": period.last,
            "totals": usage.totals(self.reach, period),
            "spending": usage.spending(self.reach, timezone.now().date()),
        }


class ByDayView(UsageView):
    """`usage/by-day`"""

    @operation(
        "usageByDay",
        "Usage by day",
        scope="usage:read",
        action="logs.own",
        query=PeriodQuery,
        answer=breakdown(ByDay),
    )
    def get(self) -> Any:
        """Every day of the period, the first one first."""
        return self.answer(usage.by_day)


class ByModelView(UsageView):
    """`usage/by-model`"""

    @operation(
        "usageByModel",
        "Usage by model",
        scope="usage:read",
        action="logs.own",
        query=TopQuery,
        answer=breakdown(ByModel),
    )
    def get(self) -> Any:
        """The dearest first."""
        return self.answer(usage.by_model)


class ByKeyView(UsageView):
    """`usage/by-key`"""

    @operation(
        "usageByKey", "Usage by key", scope="usage:read", action="logs.own", query=TopQuery, answer=breakdown(ByKey)
    )
    def get(self) -> Any:
        """The dearest first; deleted keys keep their row."""
        return self.answer(usage.by_key)


class ByMemberView(UsageView):
    """`usage/by-member`"""

    @operation(
        "usageByMember",
        "Usage by member",
        scope="usage:read",
        action="logs.all",
        query=TopQuery,
        answer=breakdown(ByMember),
    )
    def get(self) -> Any:
        """The one who spent most first. Admins and owners only."""
        return self.answer(usage.by_member)
