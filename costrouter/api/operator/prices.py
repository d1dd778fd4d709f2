"""Dated prices, which are only ever added to."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.models import Price
from billing.selectors import with_price_in_force
from billing.services import append_price
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import Count, In, MomentIn, Out, Pattern, Text
from costrouter.api.lists import RowQuery, list_of, newest_first
from costrouter.api.operator import READ, WRITE
from costrouter.lib.units import UNITS


class PriceOut(Out):
    """What a model costs from a moment on, in USD."""

    id = serializers.IntegerField(source="pk")
    model = serializers.CharField(source="model_name")
    tier = serializers.CharField()
    units = serializers.DictField(child=serializers.CharField(), help_text="Unit → price.")
    long_context_above = serializers.IntegerField(allow_null=True)
    long_context_units = serializers.DictField(child=serializers.CharField())
    effective_from = serializers.DateTimeField()
    in_force = serializers.SerializerMethodField()
    source = serializers.CharField()
    note = serializers.CharField()
    created_at = serializers.DateTimeField()

    def get_in_force(self, price: Any) -> bool:
        return bool(price.pk == price.in_force_id)


class UnitPrices(serializers.DictField):
    """Unit → price as a decimal text."""

    def __init__(self, **options: Any) -> None:
        options["child"] = Pattern(r"^[0-9]{1,7}(\.[0-9]{1,18})?$", help_text="USD, exact.")
        super().__init__(**options)


class NewPrice(In):
    """A price to add. It cannot be changed afterwards, only followed by another one."""

    model = Text(max_length=150)
    tier = Text(max_length=20, default=Price.STANDARD)
    units = UnitPrices(allow_empty=False, help_text=f"Unit → USD. Units: {', '.join(UNITS)}.")
    long_context_above = Count(min_value=1, required=False, allow_null=True)
    long_context_units = UnitPrices(required=False)
    effective_from = MomentIn(required=False, allow_null=True, help_text="Without it: now. Never in the past.")
    note = Text(max_length=200, required=False, allow_blank=True)


class PriceQuery(RowQuery):
    """Which prices."""

    model = Text(max_length=150, required=False)
    tier = Text(max_length=20, required=False)


class PriceResource(Resource):
    """A path about prices."""

    tag = "Operator: catalogue"

    def find(self, price_id: int) -> Price:
        """A price. Raises Refused."""
        found = with_price_in_force(Price.objects.all()).filter(pk=price_id).first()
        if found is None:
            raise not_found()
        return found


class PricesView(PriceResource):
    """`operator/prices`"""

    @operation(
        "listPrices",
        "List prices",
        scope=READ,
        permission="billing.view_price",
        query=PriceQuery,
        answer=list_of(PriceOut),
    )
    def get(self) -> Any:
        """Every price there ever was, the newest first."""
        columns = {"model": "model_name", "tier": "tier"}
        wanted = {column: self.query[name] for name, column in columns.items() if name in self.query}
        return newest_first(with_price_in_force(Price.objects.filter(**wanted)), self.query)

    @operation(
        "addPrice",
        "Add a price",
        scope=WRITE,
        permission="billing.add_price",
        body=NewPrice,
        answer=PriceOut,
        status=201,
    )
    def post(self) -> Any:
        """Requests that began before it takes effect keep the earlier one."""
        body = dict(self.body)
        made = append_price(model_name=body.pop("model"), actor=self.request.user, **body)
        return self.find(made.pk)


class PriceView(PriceResource):
    """`operator/prices/{price_id}`"""

    @operation("getPrice", "Get a price", scope=READ, permission="billing.view_price", answer=PriceOut)
    def get(self, price_id: int) -> Any:
        return self.find(price_id)
