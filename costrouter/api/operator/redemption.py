"""Redemption codes: batches of them, each code worth the same amount, once."""

from __future__ import annotations

from typing import Any

from django.db.models import Count as CountOf
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Coalesce
from rest_framework import serializers

from billing import redemption
from billing.models import RedemptionBatch, RedemptionCode
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import In, MomentIn, Out, Text, UsdIn, UsdOut, Whole
from costrouter.api.lists import RowQuery, list_of, newest_first
from costrouter.api.operator import READ, WRITE


class Batch(Out):
    """Codes that were made together."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    amount_usd = UsdOut(source="amount_nanos", help_text="What each code is worth.")
    count = serializers.IntegerField(source="total", help_text="How many codes.")
    claimed = serializers.IntegerField(help_text="How many of them were redeemed.")
    expires_at = serializers.DateTimeField(allow_null=True)
    disabled = serializers.BooleanField()
    note = serializers.CharField()
    created_at = serializers.DateTimeField()


class NewBatch(In):
    """Codes to make."""

    name = Text(max_length=100)
    amount_usd = UsdIn(help_text="What each code is worth.")
    count = Whole(min_value=1, max_value=redemption.MAX_CODES)
    expires_at = MomentIn(required=False, allow_null=True)
    note = Text(max_length=200, required=False, allow_blank=True)


class Code(Out):
    """A code and who redeemed it."""

    id = serializers.IntegerField(source="pk")
    code = serializers.SerializerMethodField(help_text="null where no configured key opens it any more.")
    claimed_at = serializers.DateTimeField(allow_null=True)
    organization_id = serializers.IntegerField(source="claimed_by_id", allow_null=True)
    user_id = serializers.IntegerField(source="claimed_by_user_id", allow_null=True)

    def get_code(self, row: RedemptionCode) -> str | None:
        return redemption.code_text(row)


def _codes(**wanted: Any) -> Coalesce:
    """How many codes of a batch there are: counted for the rows of a page, not for every batch."""
    rows = RedemptionCode.objects.filter(batch=OuterRef("pk"), **wanted).order_by().values("batch")
    return Coalesce(Subquery(rows.annotate(n=CountOf("pk")).values("n")), 0)


class BatchResource(Resource):
    """A path about batches."""

    tag = "Operator: organizations"

    def rows(self) -> Any:
        """Batches with what is counted of them."""
        return RedemptionBatch.objects.annotate(total=_codes(), claimed=_codes(claimed_at__isnull=False))

    def find(self, batch_id: int) -> Any:
        """A batch. Raises Refused."""
        found = self.rows().filter(pk=batch_id).first()
        if found is None:
            raise not_found()
        return found


class BatchesView(BatchResource):
    """`operator/redemption-batches`"""

    @operation(
        "listBatches",
        "List batches of redemption codes",
        scope=READ,
        permission="billing.view_redemptionbatch",
        query=RowQuery,
        answer=list_of(Batch),
    )
    def get(self) -> Any:
        """The newest first."""
        return newest_first(self.rows(), self.query)

    @operation(
        "createBatch",
        "Make redemption codes",
        scope=WRITE,
        permission="billing.add_redemptionbatch",
        body=NewBatch,
        answer=Batch,
        status=201,
    )
    def post(self) -> Any:
        """Then read them from the batch."""
        body = dict(self.body)
        made = redemption.create_batch(amount_nanos=body.pop("amount_usd"), actor=self.request.user, **body)
        return self.find(made.pk)


class BatchView(BatchResource):
    """`operator/redemption-batches/{batch_id}`"""

    @operation("getBatch", "Get a batch", scope=READ, permission="billing.view_redemptionbatch", answer=Batch)
    def get(self, batch_id: int) -> Any:
        return self.find(batch_id)


class CodesView(BatchResource):
    """`operator/redemption-batches/{batch_id}/codes`"""

    @operation(
        "listCodes",
        "Read a batch's codes",
        scope=WRITE,
        permission="billing.view_redemptioncode",
        query=RowQuery,
        answer=list_of(Code),
    )
    def get(self, batch_id: int) -> Any:
        """In clear: whoever has one can redeem it. Hence the scope to write."""
        return newest_first(RedemptionCode.objects.filter(batch=self.find(batch_id)), self.query)


class DisableBatchView(BatchResource):
    """`operator/redemption-batches/{batch_id}/disable`"""

    @operation(
        "disableBatch", "Disable a batch", scope=WRITE, permission="billing.change_redemptionbatch", answer=Batch
    )
    def post(self, batch_id: int) -> Any:
        """No code of it can be redeemed any more."""
        redemption.disable_batch(batch=self.find(batch_id))
        return self.find(batch_id)


class EnableBatchView(BatchResource):
    """`operator/redemption-batches/{batch_id}/enable`"""

    @operation("enableBatch", "Enable a batch", scope=WRITE, permission="billing.change_redemptionbatch", answer=Batch)
    def post(self, batch_id: int) -> Any:
        """Codes that were not redeemed can be again."""
        redemption.enable_batch(batch=self.find(batch_id))
        return self.find(batch_id)
