"""The catalogue of models: what clients may name, what it costs now, who serves it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from channels_app import services
from channels_app.models import CatalogueModel, Channel, ChannelModel
from costrouter.admin.base import PlainList, ServiceAdmin, badge, link, lookup, number, page_url, two_lines
from costrouter.lib.units import UNITS, per_text

INPUTS = ("text", "image", "audio", "file")
OUTPUTS = ("text", "image", "audio")


def _modalities(label: str, names: tuple[str, ...]) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        label=label,
        choices=[(name, name.capitalize()) for name in names],
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        initial=["text"],
    )


class CatalogueModelForm(forms.ModelForm):
    """A model, its modalities as checkboxes."""

    input_modalities = _modalities("Takes", INPUTS)
    output_modalities = _modalities("Answers with", OUTPUTS)

    class Meta:
        model = CatalogueModel
        fields = (
            *("name", "display_name", "owned_by", "context_window", "max_output", "hidden_reasoning"),
            *("input_modalities", "output_modalities", "image_allowance", "audio_allowance", "file_allowance"),
        )


class CatalogueList(PlainList):
    """Adds each page's current prices, in one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        prices = lookup("current_prices", [model.name for model in self.result_list])
        for model in self.result_list:
            model.price_now = prices.get(model.name)


@admin.register(CatalogueModel)
class CatalogueModelAdmin(ServiceAdmin):
    """The catalogue."""

    form = CatalogueModelForm
    list_display = ("title", "served_by", "input_price", "cached_price", "output_price", "context", "takes")
    list_display_links = ("title",)
    list_filter = ("owned_by",)
    search_fields = ("name", "display_name", "owned_by")
    search_help_text = "Name or owner"
    readonly_fields = ("price_panel", "channel_panel")
    actions_detail = ("new_price",)
    actions_row = ("new_price",)
    fieldsets = (
        (None, {"fields": (("name", "display_name", "owned_by"), ("context_window", "max_output"))}),
        ("Price in force", {"fields": ("price_panel",)}),
        ("Served by", {"fields": ("channel_panel",)}),
        ("Modalities", {"fields": (("input_modalities", "output_modalities"), "hidden_reasoning")}),
        (
            "What is held for parts that are not text",
            {
                "fields": (("image_allowance", "audio_allowance", "file_allowance"),),
            },
        ),
    )
    add_fieldsets = (fieldsets[0], fieldsets[3], fieldsets[4])

    def get_queryset(self, request: HttpRequest) -> QuerySet[CatalogueModel]:
        serving = ChannelModel.objects.select_related("channel").order_by("-channel__priority", "channel__name")
        return super().get_queryset(request).prefetch_related(Prefetch("channel_models", serving))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CatalogueList

    @display(description="Model", ordering="name")
    def title(self, model: CatalogueModel) -> SafeString:
        return two_lines(model.name, " · ".join(filter(None, (model.display_name, model.owned_by))))

    @display(description="Served by")
    def served_by(self, model: CatalogueModel) -> SafeString:
        places = [place for place in model.channel_models.all() if place.channel.status == Channel.Status.ENABLED]
        if not places:
            return badge("No channel", "danger")
        return format_html(
            '<span class="cr-wrap">{}</span>',
            format_html_join(", ", "{}", ((_channel_link(place.channel),) for place in places)),
        )

    def _price(self, model: Any, unit: str) -> SafeString:
        if model.price_now is None:
            return badge("No price", "danger") if unit == "input" else number("—", "quiet")
        text = model.price_now.units.get(unit)
        return number(f"${text}" if text is not None else "—", "" if text is not None else "quiet")

    @display(description="Input / M")
    def input_price(self, model: CatalogueModel) -> SafeString:
        return self._price(model, "input")

    @display(description="Cached / M")
    def cached_price(self, model: CatalogueModel) -> SafeString:
        return self._price(model, "cache_read")

    @display(description="Output / M")
    def output_price(self, model: CatalogueModel) -> SafeString:
        return self._price(model, "output")

    @display(description="Context", ordering="context_window")
    def context(self, model: CatalogueModel) -> SafeString:
        return number(f"{model.context_window:,}" if model.context_window else "—")

    @display(description="Takes")
    def takes(self, model: CatalogueModel) -> str:
        return ", ".join(model.input_modalities)

    @display(description="Current price")
    def price_panel(self, model: CatalogueModel) -> SafeString:
        price = lookup("current_prices", [model.name]).get(model.name)
        history = link(page_url("billing.price", "changelist", q=model.name), "All its prices")
        if price is None:
            return format_html(
                "{} Requests for it are refused until it has one. {}", badge("No price", "danger"), history
            )
        lines = format_html_join(
            "",
            '<span class="cr-chip">{} <b class="cr-num">${}</b> {}</span>',
            ((UNITS[unit].label, text, per_text(unit)) for unit, text in price.units.items() if unit in UNITS),
        )
        return format_html(
            '<span class="cr-chips">{}</span><small>Since {} UTC · {}</small>',
            lines,
            f"{price.effective_from:%Y-%m-%d %H:%M}",
            history,
        )

    @display(description="Channels")
    def channel_panel(self, model: CatalogueModel) -> SafeString | str:
        places = list(model.channel_models.all())
        if not places:
            return "No channel serves it: requests for it are refused."
        return format_html_join(
            "",
            "<div>{} {} {}</div>",
            (
                (
                    _channel_link(place.channel),
                    f"as {place.upstream_name}" if place.upstream_name else "",
                    "" if place.channel.status == Channel.Status.ENABLED else badge("Disabled", "danger"),
                )
                for place in places
            ),
        )

    @action(
        description="New price",
        url_path="new-price",
        icon="sell",
        variant=ActionVariant.PRIMARY,
        permissions=["price"],
    )
    def new_price(self, request: HttpRequest, object_id: str) -> HttpResponse:
        model = self.get_object(request, object_id)
        name = model.name if model is not None else ""
        return HttpResponseRedirect(page_url("billing.price", "add", model_name=name))

    def has_price_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("billing.add_price"))  # type: ignore[union-attr]

    def save_model(self, request: HttpRequest, obj: CatalogueModel, form: Any, change: bool) -> None:
        services.save_model(model=obj)

    def delete_model(self, request: HttpRequest, obj: CatalogueModel) -> None:
        services.delete_model(model=obj)


def _channel_link(channel: Channel) -> SafeString:
    return link(page_url("channels_app.channel", "change", channel.pk), channel.name)
