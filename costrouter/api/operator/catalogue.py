"""What is on offer: model groups, the catalogue of models, and dated prices, which are only ever added to."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers

from accounts.models import Organization
from billing.models import Price
from billing.selectors import with_price_in_force
from billing.services import append_price
from channels_app import services
from channels_app.models import CatalogueModel, ModelGroup
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import Count, Flag, Id, In, MomentIn, Names, Out, Pattern, RateIn, Text
from costrouter.api.lists import RowQuery, list_of, newest_first
from costrouter.api.operator.channels import READ, WRITE
from costrouter.lib.units import UNITS


class GroupOut(Out):
    """A set of channels, and the rate at which their use is charged."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    description = serializers.CharField()
    rate = serializers.DecimalField(max_digits=8, decimal_places=4)
    is_public = serializers.BooleanField()
    organization_ids = serializers.SerializerMethodField(help_text="Who may use it where it is not public.")

    def get_organization_ids(self, group: ModelGroup) -> list[int]:
        return sorted(organization.pk for organization in group.organizations.all())


class GroupFields(In):
    """What a group is. What is left out stays as it is."""

    name = Pattern(r"^[-a-zA-Z0-9_]+$", max_length=50, required=False)
    description = Text(max_length=200, required=False, allow_blank=True)
    rate = RateIn(required=False)
    is_public = Flag(required=False)
    organization_ids = serializers.ListField(child=Id(), max_length=1_000, required=False)


class NewGroup(GroupFields):
    """A group to make. The rate is 1 and everyone may use it, unless said otherwise."""

    name = Pattern(r"^[-a-zA-Z0-9_]+$", max_length=50)


class NameQuery(RowQuery):
    """Which rows."""

    search = Text(max_length=150, required=False, help_text="In the name.")


def save_group(group: ModelGroup, body: dict[str, Any]) -> ModelGroup:
    """A group as a body asks for it. Raises ValidationError."""
    organizations = None
    if "organization_ids" in body:
        wanted = set(body["organization_ids"])
        organizations = list(Organization.objects.filter(pk__in=wanted))
        if len(organizations) < len(wanted):
            raise ValidationError({"organization_ids": "One of them is not there."})
    for name, value in body.items():
        if name != "organization_ids":
            setattr(group, name, value)
    return services.save_group(group=group, organizations=organizations)


class GroupResource(Resource):
    """A path about groups."""

    tag = "Operator: catalogue"

    def find(self, group_id: int) -> ModelGroup:
        """A group. Raises Refused."""
        found = ModelGroup.objects.prefetch_related("organizations").filter(pk=group_id).first()
        if found is None:
            raise not_found()
        return found


class GroupsView(GroupResource):
    """`operator/groups`"""

    @operation(
        "listAllGroups",
        "List model groups",
        scope=READ,
        permission="channels_app.view_modelgroup",
        query=NameQuery,
        answer=list_of(GroupOut),
    )
    def get(self) -> Any:
        """The newest first."""
        rows = ModelGroup.objects.prefetch_related("organizations")
        if "search" in self.query:
            rows = rows.filter(name__icontains=self.query["search"])
        return newest_first(rows, self.query)

    @operation(
        "createGroup",
        "Create a model group",
        scope=WRITE,
        permission="channels_app.add_modelgroup",
        body=NewGroup,
        answer=GroupOut,
        status=201,
    )
    def post(self) -> Any:
        """Give it channels by changing those."""
        return self.find(save_group(ModelGroup(), self.body).pk)


class GroupView(GroupResource):
    """`operator/groups/{group_id}`"""

    @operation("getGroup", "Get a model group", scope=READ, permission="channels_app.view_modelgroup", answer=GroupOut)
    def get(self, group_id: int) -> Any:
        return self.find(group_id)

    @operation(
        "changeGroup",
        "Change a model group",
        scope=WRITE,
        permission="channels_app.change_modelgroup",
        body=GroupFields,
        answer=GroupOut,
    )
    def patch(self, group_id: int) -> Any:
        """Another rate is for requests from now on."""
        save_group(self.find(group_id), self.body)
        return self.find(group_id)

    @operation("deleteGroup", "Delete a model group", scope=WRITE, permission="channels_app.delete_modelgroup")
    def delete(self, group_id: int) -> Any:
        """Keys that still name it are refused with 403."""
        services.delete_group(group=self.find(group_id))


class ModelOut(Out):
    """A model that clients may name."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    display_name = serializers.CharField()
    owned_by = serializers.CharField()
    context_window = serializers.IntegerField(allow_null=True)
    max_output = serializers.IntegerField(allow_null=True)
    input_modalities = serializers.ListField(child=serializers.CharField())
    output_modalities = serializers.ListField(child=serializers.CharField())
    image_allowance = serializers.IntegerField()
    audio_allowance = serializers.IntegerField()
    file_allowance = serializers.IntegerField()
    hidden_reasoning = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class ModelFields(In):
    """What a model is. What is left out stays as it is."""

    name = Text(max_length=150, required=False)
    display_name = Text(max_length=150, required=False, allow_blank=True)
    owned_by = Text(max_length=100, required=False, allow_blank=True)
    context_window = Count(required=False, allow_null=True, help_text="Tokens. Bounds what a request can cost.")
    max_output = Count(required=False, allow_null=True, help_text="Tokens. Bounds what an answer can cost.")
    input_modalities = Names(length=20, most=10, required=False)
    output_modalities = Names(length=20, most=10, required=False)
    image_allowance = Count(required=False, help_text="Tokens held for each image.")
    audio_allowance = Count(required=False)
    file_allowance = Count(required=False)
    hidden_reasoning = Flag(required=False)


class NewModel(ModelFields):
    """A model to make. It is refused to clients until it has a price and a channel."""

    name = Text(max_length=150)


class ModelResource(Resource):
    """A path about the catalogue."""

    tag = "Operator: catalogue"

    def find(self, model_id: int) -> CatalogueModel:
        """A model. Raises Refused."""
        found = CatalogueModel.objects.filter(pk=model_id).first()
        if found is None:
            raise not_found()
        return found

    def save(self, model: CatalogueModel) -> CatalogueModel:
        """The model as the body asks for it."""
        for name, value in self.body.items():
            setattr(model, name, value)
        return services.save_model(model=model)


class ModelsView(ModelResource):
    """`operator/models`"""

    @operation(
        "listCatalogue",
        "List the catalogue",
        scope=READ,
        permission="channels_app.view_cataloguemodel",
        query=NameQuery,
        answer=list_of(ModelOut),
    )
    def get(self) -> Any:
        """The newest first."""
        rows = CatalogueModel.objects.all()
        if "search" in self.query:
            rows = rows.filter(name__icontains=self.query["search"])
        return newest_first(rows, self.query)

    @operation(
        "createModel",
        "Create a model",
        scope=WRITE,
        permission="channels_app.add_cataloguemodel",
        body=NewModel,
        answer=ModelOut,
        status=201,
    )
    def post(self) -> Any:
        """Then give it a price, and name it on a channel."""
        return self.save(CatalogueModel())


class ModelView(ModelResource):
    """`operator/models/{model_id}`"""

    @operation("getModel", "Get a model", scope=READ, permission="channels_app.view_cataloguemodel", answer=ModelOut)
    def get(self, model_id: int) -> Any:
        return self.find(model_id)

    @operation(
        "changeModel",
        "Change a model",
        scope=WRITE,
        permission="channels_app.change_cataloguemodel",
        body=ModelFields,
        answer=ModelOut,
    )
    def patch(self, model_id: int) -> Any:
        """In force within a second. Prices go by the name: another name has none of the old one's."""
        return self.save(self.find(model_id))

    @operation("deleteModel", "Delete a model", scope=WRITE, permission="channels_app.delete_cataloguemodel")
    def delete(self, model_id: int) -> Any:
        """With it goes its place on every channel; prices and records stay."""
        services.delete_model(model=self.find(model_id))


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
