"""The catalogue of models: what clients may name."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from channels_app import services
from channels_app.models import CatalogueModel
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import Count, Flag, In, Names, Out, Text
from costrouter.api.lists import NameQuery, list_of, newest_first
from costrouter.api.operator import READ, WRITE


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
