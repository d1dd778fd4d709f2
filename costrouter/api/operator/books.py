"""Whether the money agrees."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.reconciliation import reconcile
from costrouter.api.base import Resource, operation
from costrouter.api.fields import Out, UsdOut
from costrouter.api.operator import READ
from costrouter.api.throttles import PerCaller, Reconcile


class Breach(Out):
    """An invariant that does not hold. `docs/money.md` has them all."""

    invariant = serializers.CharField()
    subject = serializers.CharField()
    expected = serializers.CharField()
    found = serializers.CharField()


class Report(Out):
    """What the books hold, and what is wrong with them."""

    ok = serializers.SerializerMethodField()
    wallets = serializers.IntegerField()
    records = serializers.IntegerField()
    records_by_status = serializers.DictField(child=serializers.IntegerField())
    unsettled = serializers.IntegerField(help_text="Charges that wait for settlement.")
    open_holds = serializers.IntegerField(help_text="Of requests under way.")
    orphaned_holds = serializers.IntegerField(help_text="Of processes that died; the sweep takes them.")
    charged_usd = UsdOut(source="charged_nanos")
    overrun_usd = UsdOut(source="overrun_nanos")
    breach_count = serializers.IntegerField()
    breaches = Breach(many=True, help_text="The first of them.")

    def get_ok(self, report: dict[str, Any]) -> bool:
        return not report["breach_count"]


class ReconcileView(Resource):
    """`operator/reconcile`"""

    tag = "Operator: books"
    throttle_classes = (PerCaller, Reconcile)

    @operation(
        "reconcile",
        "Check every invariant of the money",
        scope=READ,
        permission="billing.view_ledgerentry",
        answer=Report,
    )
    def get(self) -> Any:
        """In one snapshot, without stopping anyone. It reads every record: seconds to minutes on a large site, so ask
        now and then only. A schedule does the same each night."""
        return reconcile()
