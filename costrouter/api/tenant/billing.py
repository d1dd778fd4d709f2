"""Money: balance, ledger, budgets, redemption codes. Statements are in `statements.py`."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from billing.models import LedgerEntry
from billing.redemption import redeem
from billing.selectors import Credits, budgets_of, credits_of
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import In, Out, Text, UsdOut
from costrouter.api.lists import RowQuery, all_of, list_of, newest_first
from costrouter.api.tenant.keys import LimitOut
from costrouter.api.throttles import PerCaller, Redeem


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


class BudgetOut(Out):
    """A budget and how it stands now: of the organization, a member or a key."""

    scope = serializers.ChoiceField(source="state.scope", choices=("organization", "member", "key"))
    name = serializers.CharField(help_text="The key's, or the member's e-mail; empty for the organization.")
    key_id = serializers.IntegerField(source="api_key_id", allow_null=True)
    limit = LimitOut(source="state")


class RedeemIn(In):
    """A redemption code, however it is typed."""

    code = Text(max_length=100)


class Redeemed(Out):
    """What a code was worth, and the balance now."""

    amount_usd = UsdOut()
    balance = Balance()


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


class BudgetsView(Resource):
    """`billing/budgets`"""

    tag = "Billing"

    @operation("listBudgets", "Budgets", scope="billing:read", action="billing.view", answer=all_of(BudgetOut))
    def get(self) -> Any:
        """The organization's own first, then its members', then its keys'; at most 100."""
        today = timezone.now().date()
        return {"data": budgets_of(organization_id=self.member.organization_id, today=today, limit=100)}


class RedeemView(Resource):
    """`billing/redeem`"""

    tag = "Billing"
    throttle_classes = (PerCaller, Redeem)

    @operation(
        "redeemCode",
        "Redeem a code",
        scope="billing:write",
        action="billing.redeem",
        body=RedeemIn,
        answer=Redeemed,
    )
    def post(self) -> Any:
        """Each code once, whoever comes first. A few wrong ones, and none is tried for an hour."""
        amount = redeem(member=self.member, code=self.body["code"])
        return {"amount_usd": amount, "balance": credits_of(organization_id=self.member.organization_id)}
