"""Usage logs: every request, the newest first, and one with the arithmetic of its cost."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.selectors import reach_of
from billing.models import UsageRecord
from billing.reports import arithmetic, logs
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import Flag, Id, MomentIn, Out, Text, UsdIn, UsdOut
from costrouter.api.lists import ListQuery, list_of


class Record(Out):
    """What became of one request."""

    request_id = serializers.CharField()
    created_at = serializers.DateTimeField()
    endpoint = serializers.CharField()
    model = serializers.CharField()
    group = serializers.CharField()
    status = serializers.ChoiceField(choices=UsageRecord.Status.values)
    http_status = serializers.IntegerField()
    error_code = serializers.CharField()
    key_id = serializers.IntegerField(source="api_key_id", allow_null=True)
    key_name = serializers.CharField()
    user_id = serializers.IntegerField(allow_null=True)
    user_email = serializers.CharField(source="user_name")
    streamed = serializers.BooleanField()
    estimated = serializers.BooleanField(help_text="The upstream told no usage: it was counted here.")
    units = serializers.DictField(child=serializers.IntegerField(), help_text="Unit → quantity.")
    cost_usd = UsdOut(source="cost_nanos")
    first_byte_ms = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField(allow_null=True)
    client_ip = serializers.CharField()
    client_request_id = serializers.CharField()


class CostLine(Out):
    """Quantity × price / per."""

    unit = serializers.CharField()
    quantity = serializers.IntegerField()
    price_usd = serializers.CharField(source="price", help_text="For `per` of the unit.")
    per = serializers.IntegerField()
    amount_usd = serializers.SerializerMethodField(help_text="With every digit, before the rate.")

    def get_amount_usd(self, line: arithmetic.Line) -> str:
        return exact(line.amount)


class Cost(Out):
    """The sum of the lines × the rate of the model group, rounded once, half up, to nanos."""

    lines = CostLine(many=True)
    sum_usd = serializers.SerializerMethodField()
    rate = serializers.CharField(source="rate_text")
    exact_usd = serializers.SerializerMethodField(help_text="The sum times the rate, with every digit.")
    rounded_usd = UsdOut(source="rounded")
    charged_usd = UsdOut(source="charged", help_text="Less than `rounded_usd` only where an estimate met its hold.")

    def get_sum_usd(self, cost: arithmetic.Arithmetic) -> str:
        return exact(cost.sum_text)

    def get_exact_usd(self, cost: arithmetic.Arithmetic) -> str:
        return exact(cost.exact_text)


class RecordWithCost(Out):
    """A request and the arithmetic of its cost."""

    record = Record()
    cost = Cost()


class RecordQuery(ListQuery):
    """Which requests. Times are those of their beginning: from `since` on, before `until`."""

    cursor = serializers.RegexField(r"^[A-Za-z0-9_-]{1,40}$", required=False, help_text="`next_cursor` of before.")
    since = MomentIn(required=False)
    until = MomentIn(required=False)
    key_id = Id(required=False)
    user_id = Id(required=False)
    model = Text(max_length=150, required=False)
    group = Text(max_length=50, required=False)
    endpoint = Text(max_length=50, required=False)
    status = serializers.ChoiceField(choices=UsageRecord.Status.values, required=False)
    streamed = Flag(required=False)
    min_cost_usd = UsdIn(required=False)


def exact(text: str) -> str:
    """An amount for people as a plain decimal: "$1,234.50" → "1234.50"."""
    return text.replace("$", "").replace(",", "")


class RecordsView(Resource):
    """`usage/records`"""

    tag = "Usage"

    @operation(
        "listRecords",
        "List requests",
        scope="usage:read",
        action="logs.own",
        query=RecordQuery,
        answer=list_of(Record),
    )
    def get(self) -> Any:
        """The newest first, refused and failed ones too. A page that filters hard may be short or even empty though
        more follows: go on while `next_cursor` is not null."""
        asked = self.query
        chosen = logs.LogFilter(
            **{name: asked[name] for name in ("key_id", "user_id", "model", "group", "endpoint") if name in asked},
            status=asked.get("status", ""),
            streamed=asked.get("streamed"),
            min_cost_nanos=asked.get("min_cost_usd"),
            start=asked.get("since"),
            end=asked.get("until"),
        )
        reach = reach_of(self.member, "logs.all")
        found = logs.page(reach, chosen, before=asked.get("cursor", ""), size=asked["limit"])
        return {"data": found.rows, "next_cursor": found.older}


class RecordView(Resource):
    """`usage/records/{request_id}`"""

    tag = "Usage"

    @operation("getRecord", "Get a request", scope="usage:read", action="logs.own", answer=RecordWithCost)
    def get(self, request_id: str) -> Any:
        """With its cost, line by line."""
        record = logs.one(reach_of(self.member, "logs.all"), request_id)
        if record is None:
            raise not_found()
        cost = arithmetic.arithmetic(record.lines, record.rate, record.cost_nanos)
        return {"record": record, "cost": cost}
