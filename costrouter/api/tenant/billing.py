"""Money: balance, ledger."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.models import LedgerEntry
from billing.selectors import Credits, credits_of
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import MomentIn, Out, UsdOut
from costrouter.api.lists import RowQuery, list_of, newest_first


class Balance(Out):
    """An organization's money now. Charges that wait for settlement are counted."""

    balance_usd = UsdOut(source="balance")
    held_usd = UsdOut(source="held", help_text="For requests under way.")
    credit_limit_usd = UsdOut(source="credit_limit", help_text="How far below zero the balance may go.")
    available_usd = serializers.SerializerMethodField(help_text="balance + credit limit − held.")
    credited_usd = UsdOut(source="credited", help_text="All that was ever put in, less debits.")
    used_usd = UsdOut(source="used", help_text="All that was ever charged.")

    def get_available_usd(self, found: Credits) -> str:
        return UsdOut().to_representation(found.balance + found.credit_limit - found.held)


class LedgerRow(Out):
    """One movement of the balance. It cannot be changed."""

    id = serializers.IntegerField(source="pk")
    created_at = serializers.DateTimeField()
    kind = serializers.ChoiceField(choices=LedgerEntry.Kind.values)
    amount_usd = UsdOut(source="amount_nanos", help_text="What the balance changed by.")
    limit_change_usd = UsdOut(source="limit_change_nanos", help_text="What the credit limit changed by.")
    requests = serializers.IntegerField(help_text="How many charges an entry of usage sums up.")
    note = serializers.CharField()


class LedgerQuery(RowQuery):
    """Which entries. Without a kind: all."""

    kind = serializers.ChoiceField(choices=[*LedgerEntry.Kind.values, "not_usage"], required=False)
    since = MomentIn(required=False)
    until = MomentIn(required=False)


class BalanceView(Resource):
    """`billing/balance`"""

    tag = "Billing"

    @operation("getBalance", "Balance", scope="billing:read", action="balance.view", answer=Balance)
    def get(self) -> Any:
        """In one statement, so that the figures agree."""
        return credits_of(organization_id=self.member.organization_id)


def ledger(organization_id: int, asked: dict[str, Any]) -> dict[str, Any]:
    """A page of an organization's ledger."""
    rows = LedgerEntry.objects.filter(wallet_id=organization_id)
    kind = asked.get("kind")
    if kind == LedgerEntry.Kind.USAGE:
        rows = rows.filter(kind=kind)
    elif kind is not None:
        rows = rows.exclude(kind=LedgerEntry.Kind.USAGE)  # the partial index
        if kind != "not_usage":
            rows = rows.filter(kind=kind)
    if "since" in asked:
        rows = rows.filter(created_at__gte=asked["since"])
    if "until" in asked:
        rows = rows.filter(created_at__lt=asked["until"])
    return newest_first(rows, asked)


class LedgerView(Resource):
    """`billing/ledger`"""

    tag = "Billing"

    @operation(
        "listLedger",
        "Read the ledger",
        scope="billing:read",
        action="billing.view",
        query=LedgerQuery,
        answer=list_of(LedgerRow),
    )
    def get(self) -> Any:
        """The newest first. Settlement sums up charges: an entry of usage is many requests."""
        return ledger(self.member.organization_id, self.query)


class LedgerEntryView(Resource):
    """`billing/ledger/{entry_id}`"""

    tag = "Billing"

    @operation("getLedgerEntry", "Get a ledger entry", scope="billing:read", action="billing.view", answer=LedgerRow)
    def get(self, entry_id: int) -> Any:
        found = LedgerEntry.objects.filter(wallet_id=self.member.organization_id, pk=entry_id).first()
        if found is None:
            raise not_found()
        return found
