"""Months on paper: opening balance + what people moved − usage = closing balance, to the nano."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from billing.models import LedgerEntry
from billing.reports.statement import months, statement
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import Out, UsdOut
from costrouter.api.lists import all_of
from costrouter.api.tenant.usage import ByDay, ByModel, TotalsOut


class MonthOut(Out):
    """A month (UTC). Until it is over, its closing balance is that of now."""

    month = serializers.SerializerMethodField()
    finished = serializers.BooleanField()
    moved_usd = UsdOut(source="moved_nanos", help_text="What people moved, signed.")
    usage_usd = UsdOut(source="usage_nanos")
    closing_usd = UsdOut(source="closing_nanos")

    def get_month(self, line: Any) -> str:
        return f"{line.first:%Y-%m}"


class StatementEntry(Out):
    """What a person did to the balance or the credit limit."""

    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    kind = serializers.ChoiceField(choices=LedgerEntry.Kind.values)
    amount_usd = UsdOut(source="amount_nanos")
    limit_change_usd = UsdOut(source="limit_change_nanos")
    note = serializers.CharField()
    member = serializers.CharField(help_text="The e-mail of the member who did it; else empty.")


class StatementOut(Out):
    """A month: what there was, what came and went, what is left."""

    month = serializers.SerializerMethodField()
    finished = serializers.BooleanField()
    opening_usd = UsdOut(source="opening_nanos")
    added_usd = UsdOut(source="added_nanos")
    taken_usd = UsdOut(source="taken_nanos")
    closing_usd = UsdOut(source="closing_nanos")
    entries = StatementEntry(many=True)
    usage = TotalsOut()
    by_day = ByDay(many=True)
    by_model = ByModel(many=True)

    def get_month(self, found: Any) -> str:
        return f"{found.month.first:%Y-%m}"


class StatementsView(Resource):
    """`billing/statements`"""

    tag = "Billing"

    @operation("listStatements", "List months", scope="billing:read", action="billing.view", answer=all_of(MonthOut))
    def get(self) -> Any:
        """Every month since the organization was made, the newest first."""
        today = timezone.now().date()
        return {"data": months(organization_id=self.member.organization_id, today=today)}


class StatementView(Resource):
    """`billing/statements/{month}`"""

    tag = "Billing"

    @operation(
        "getStatement", "Get a month's statement", scope="billing:read", action="billing.view", answer=StatementOut
    )
    def get(self, month: str) -> Any:
        """A month is written 2026-11. One before the organization was made, or after this one, is not there."""
        asked, today = date.fromisoformat(f"{month}-01"), timezone.now().date()
        organization_id = self.member.organization_id
        if asked not in {line.first for line in months(organization_id=organization_id, today=today)}:
            raise not_found()
        return statement(organization_id=organization_id, month=asked, today=today)
