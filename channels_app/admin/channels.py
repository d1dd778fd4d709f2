"""Channels: where requests go. Credentials can be set and cleared here, never read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from channels_app import health, services
from channels_app.admin import health as health_text
from channels_app.admin.bulk import BulkActions
from channels_app.admin.channel_forms import ChannelForm, TestForm
from channels_app.models import CatalogueModel, Channel, ChannelModel
from costrouter.admin.base import (
    LabelledInline,
    ServiceAdmin,
    action_page,
    badge,
    link,
    lookup,
    number,
    page_url,
    two_lines,
)


class ChannelModelInline(LabelledInline):
    """The models that a channel serves."""

    model = ChannelModel
    extra = 0
    autocomplete_fields = ("model",)
    verbose_name = "model"
    hide_title = True
    verbose_name_plural = "Models it serves"


@admin.register(Channel)
class ChannelAdmin(BulkActions, ServiceAdmin):
    """Upstream channels."""

    form = ChannelForm
    inlines = (ChannelModelInline,)
    list_display = (
        "title",
        "state",
        "doing",
        "place",
        "model_count",
        "group_names",
        "secret",
        "multiplier",
    )
    list_select_related = ("health",)
    list_display_links = ("title",)
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("provider", ChoicesDropdownFilter),
        ("groups", RelatedDropdownFilter),
    )
    list_filter_submit = True
    ordering = ("-priority", "name")
    search_fields = ("name", "base_url", "channel_models__model__name")
    search_help_text = "Name, address or model"
    actions_detail = ("test",)
    actions_row = ("test",)
    readonly_fields = ("secret", "lately")
    fieldsets = (
        (None, {"fields": (("name", "status"), ("provider", "base_url"), "dialects")}),
        ("Credentials", {"fields": ("secret", "credentials", "clear_credentials")}),
        ("Routing", {"fields": ("groups", ("priority", "weight"), "cost_multiplier")}),
        (
            "Timeouts and network",
            {
                "fields": (
                    ("connect_timeout", "first_byte_timeout"),
                    ("idle_timeout", "answer_timeout"),
                    "allow_private_addresses",
                ),
            },
        ),
        ("Health", {"fields": ("lately",)}),
    )
    add_fieldsets = (
        (None, {"fields": (("name", "status"), ("provider", "preset"), "base_url", "dialects")}),
        ("Credentials", {"fields": ("credentials",)}),
        ("Models", {"fields": ("new_models",)}),
        *fieldsets[2:4],
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Channel]:
        rows = super().get_queryset(request).prefetch_related("groups")
        return rows.annotate(models_total=Count("channel_models", distinct=True))

    @method_decorator(sensitive_post_parameters("credentials"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """As ever; but an error report leaves the credentials out."""
        return super().changeform_view(request, *args, **kwargs)

    @display(description="Channel", ordering="name")
    def title(self, channel: Channel) -> SafeString:
        return two_lines(channel.name, channel.base_url or channel.get_provider_display())

    @display(description="Status", ordering="status")
    def state(self, channel: Channel) -> SafeString:
        enabled = channel.status == Channel.Status.ENABLED
        return badge(channel.get_status_display(), "success" if enabled else "danger")

    @display(description="Priority", ordering="priority")
    def place(self, channel: Channel) -> SafeString:
        return two_lines(number(channel.priority), f"weight {channel.weight:,}")

    @display(description="Health")
    def doing(self, channel: Channel) -> SafeString:
        return health_text.label(channel)

    @display(description="Lately")
    def lately(self, channel: Channel) -> SafeString | str:
        return health_text.details(channel)

    @display(description="Models", ordering="models_total")
    def model_count(self, channel: Any) -> SafeString:
        return number(channel.models_total) if channel.models_total else badge("None", "warning")

    @display(description="Groups")
    def group_names(self, channel: Channel) -> str | SafeString:
        return ", ".join(group.name for group in channel.groups.all()) or badge("None", "warning")

    @display(description="Credentials now")
    def secret(self, channel: Channel) -> SafeString:
        return badge("Stored", "success") if channel.credentials_encrypted else badge("None", "default")

    @display(description="Cost", ordering="cost_multiplier")
    def multiplier(self, channel: Channel) -> SafeString:
        return number(f"× {channel.cost_multiplier.normalize():f}")

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        models = None if change else _models_by_name(request, form.cleaned_data.get("new_models") or {})
        services.save_channel(
            channel=obj, credentials=form.new_credentials(), groups=form.cleaned_data["groups"], models=models
        )

    def response_add(self, request: HttpRequest, obj: Channel, *args: Any, **kwargs: Any) -> HttpResponse:
        """As ever; and the next step."""
        if self.has_change_permission(request, obj):
            test = link(page_url("channels_app.channel", "test", obj.pk), "Test it")
            self.message_user(request, format_html("{} before requests come.", test))
        return super().response_add(request, obj, *args, **kwargs)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        # A row of a model that was named above as well says nothing more.
        named = set() if change else set(form.instance.channel_models.values_list("model_id", flat=True))
        saved = [row for row in formset.save(commit=False) if row.model_id not in named]
        services.change_channel_models(channel=form.instance, saved=saved, removed=formset.deleted_objects)

    def delete_model(self, request: HttpRequest, obj: Channel) -> None:
        services.delete_channel(channel=obj)

    @action(
        description="Test this channel",
        url_path="test",
        icon="network_check",
        variant=ActionVariant.PRIMARY,
        permissions=["change"],
    )
    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One real call, on POST only; the page shows how long it took, or exactly what went wrong."""
        channel = self.get_object(request, object_id)
        if channel is None:
            raise Http404
        names = list(channel.channel_models.values_list("model__name", flat=True))
        form = TestForm(request.POST or None, names=names)
        result = None
        if request.method == "POST" and form.is_valid():
            result = health.check_channel(channel=channel, model=form.cleaned_data["model"])
        return action_page(
            self,
            request,
            channel,
            title="Test this channel",
            form=form,
            submit="Test again" if result else "Send a test request",
            can_submit=bool(names),
            intro=_describe(channel, names),
            result=result,
        )


def _models_by_name(request: HttpRequest, named: dict[str, str]) -> dict[CatalogueModel, str]:
    """Models to serve, by their names. New ones are for those who may add to the catalogue: raises ValidationError."""
    user: Any = request.user
    if not user.has_perm("channels_app.add_cataloguemodel"):
        known = set(CatalogueModel.objects.filter(name__in=named).values_list("name", flat=True))
        if unknown := [name for name in named if name not in known]:
            raise ValidationError({"new_models": f"Not in the catalogue: {', '.join(unknown)}."})
    made = services.models_named(names=named)
    return {made[name]: upstream for name, upstream in named.items()}


def _describe(channel: Channel, names: list[str]) -> SafeString:
    if not names:
        page = link(page_url("channels_app.channel", "change", channel.pk), "its page")
        return format_html("This channel serves no models yet; add one on {}.", page)
    address = channel.base_url or "the built-in sandbox"
    said = format_html("Sends one real request to <b>{}</b> with the stored credentials.", address)
    priced = lookup("current_prices", names)
    unpriced = [name for name in names if name not in priced]
    if not unpriced:
        return said
    prices = format_html_join(
        ", ", "{}", ((link(page_url("billing.price", "add", model_name=name), name),) for name in unpriced[:8])
    )
    return format_html("{} Refused to clients until they have a price: {}.", said, prices)
