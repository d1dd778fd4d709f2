"""What an organization can use: its groups, its models, and what they cost there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from billing.reports.arithmetic import plain_decimal
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import Out, Text
from costrouter.api.lists import ListQuery, all_of, list_of
from costrouter.members import keys
from costrouter.members.offers import Offer, Search, matching, modalities, model_offer, model_offers


class Group(Out):
    """A model group: what a key is in."""

    name = serializers.CharField()
    description = serializers.CharField()
    rate = serializers.DecimalField(max_digits=8, decimal_places=4, help_text="Times the list prices.")
    models = serializers.ListField(child=serializers.CharField())


class UnitAmounts(serializers.DictField):
    """Unit → USD, exact, for as many of the unit as one price pays for."""

    child = serializers.CharField()

    def to_representation(self, value: dict[str, Decimal]) -> dict[str, str]:
        return {name: plain_decimal(amount) for name, amount in value.items()}


class ListPrice(Out):
    """List prices in force: USD a million tokens, a thousand characters, or each."""

    tier = serializers.CharField()
    units = UnitAmounts()
    long_context_above = serializers.IntegerField(source="long_above", allow_null=True)
    long_context_units = UnitAmounts(source="long_units")
    effective_from = serializers.DateTimeField()


class OfferGroup(Out):
    """A group in which a channel serves the model, and the standard prices at its rate."""

    name = serializers.CharField()
    rate = serializers.DecimalField(max_digits=8, decimal_places=4)
    prices = UnitAmounts()


class OfferOut(Out):
    """A model that your organization may use now."""

    name = serializers.CharField(help_text="What clients send as `model`.")
    display_name = serializers.CharField(source="model.display_name")
    owned_by = serializers.CharField(source="model.owned_by")
    context_window = serializers.IntegerField(source="model.context_window", allow_null=True)
    max_output = serializers.IntegerField(source="model.max_output", allow_null=True)
    modalities = serializers.ListField(child=serializers.CharField(), help_text="E.g. `text in`, `image out`.")
    categories = serializers.ListField(child=serializers.CharField())
    endpoints = serializers.ListField(child=serializers.CharField(), help_text="Of the relay: method and path.")
    price = ListPrice()
    tiers = ListPrice(many=True, help_text="Other tiers in force.")
    groups = OfferGroup(many=True)


class OfferQuery(ListQuery):
    """Which models."""

    cursor = serializers.RegexField(r"^[1-9][0-9]{0,8}$", required=False, help_text="`next_cursor` of before.")
    search = Text(max_length=100, required=False, help_text="Words in name and owner.")
    category = Text(max_length=50, required=False, help_text="Of endpoints.")
    modality = Text(max_length=20, required=False, help_text="E.g. `image in`.")
    group = Text(max_length=50, required=False)
    owner = Text(max_length=100, required=False)


def _shown(offer: Offer) -> dict[str, Any]:
    """An offer as `OfferOut` takes it."""
    return {
        "name": offer.name,
        "model": offer.model,
        "modalities": modalities(offer),
        "categories": offer.categories,
        "endpoints": [f"{endpoint.method} {endpoint.path}" for endpoint in offer.endpoints],
        "price": offer.price,
        "tiers": offer.tiers,
        "groups": [
            {"name": group.name, "rate": group.rate, "prices": group.prices(offer.price.units)}
            for group in offer.groups
        ],
    }


class GroupsView(Resource):
    """`groups`"""

    tag = "Models"

    @operation("listGroups", "List model groups", scope="models:read", action="models.view", answer=all_of(Group))
    def get(self) -> Any:
        """Those that your organization may use, each with the models that its channels serve."""
        return {"data": keys.usable_groups(self.member.organization_id)}


class OffersView(Resource):
    """`models`"""

    tag = "Models"

    @operation(
        "listModels",
        "List models",
        scope="models:read",
        action="models.view",
        query=OfferQuery,
        answer=list_of(OfferOut),
    )
    def get(self) -> Any:
        """What your organization may use now, by name, with list prices and those at the rate of each group."""
        asked = self.query
        offers = matching(
            model_offers(organization_id=self.member.organization_id),
            Search(
                text=asked.get("search", ""),
                **{name: asked.get(name, "") for name in ("category", "modality", "group", "owner")},
            ),
        )
        start = int(asked.get("cursor", 0))
        end = start + asked["limit"]
        return {
            "data": [_shown(offer) for offer in offers[start:end]],
            "next_cursor": str(end) if end < len(offers) else None,
        }


class OfferView(Resource):
    """`models/{model}`"""

    tag = "Models"

    @operation("getOffer", "Get a model", scope="models:read", action="models.view", answer=OfferOut)
    def get(self, model: str) -> Any:
        found = model_offer(organization_id=self.member.organization_id, name=model)
        if found is None:
            raise not_found()
        return _shown(found)
