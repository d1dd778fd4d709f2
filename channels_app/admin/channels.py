"""Channels: where requests go. Credentials can be set and cleared here, never read."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from channels_app import health, services
from channels_app.admin import health as health_text
from channels_app.admin.bulk import BulkActions
from channels_app.models import Channel, ChannelModel, ModelGroup, Provider
from costrouter.admin_base import LabelledInline, ServiceAdmin, action_page, badge, link, number, page_url, two_lines
from costrouter.lib.presets import PRESETS
from costrouter.lib.upstreams import DIALECTS, KINDS

_CREDENTIALS = (
    "The upstream's API key; for Vertex AI a service account's JSON; for Bedrock ACCESS_KEY:SECRET_KEY[:SESSION_TOKEN] "
    "or an API key, with @REGION after it where the base URL names none. Stored encrypted, never shown again."
)


class ChannelForm(forms.ModelForm):
    """A channel. Its credentials go in and never come out."""

    preset = forms.ChoiceField(
        required=False,
        choices=[("", "—"), *((preset.name, f"{preset.label}: {preset.base_url}") for preset in PRESETS.values())],
        widget=UnfoldAdminSelectWidget(),
        label="Well-known service",
        help_text="Fills in the base URL of an OpenAI-compatible service.",
    )
    dialects = forms.MultipleChoiceField(
        required=False,
        choices=list(DIALECTS.items()),
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        label="Asked in",
        help_text=format_html(
            "The formats of conversations this upstream is asked in; clients may speak any, and are converted. "
            "None: as its provider. {}.",
            "; ".join(
                f"{kind.label}: {', '.join(kind.choices)}"
                for kind in KINDS.values()
                if kind.others or len(kind.dialects) > 1
            ),
        ),
    )

    credentials = forms.CharField(
        required=False,
        max_length=10_000,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password", "placeholder": "leave empty to keep"}),
        help_text=f"{_CREDENTIALS} Empty: what is stored stays.",
    )
    clear_credentials = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Forget what is stored, e.g. for a server without keys.",
    )

    class Meta:
        model = Channel
        fields = (
            *("name", "status", "provider", "groups", "priority", "weight", "cost_multiplier"),
            *("connect_timeout", "first_byte_timeout", "idle_timeout", "answer_timeout", "allow_private_addresses"),
        )
        widgets = {"base_url": UnfoldAdminTextInputWidget(), "groups": UnfoldAdminCheckboxSelectMultipleWidget()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.pk:
            self.fields["credentials"].help_text = _CREDENTIALS
            self.fields["credentials"].widget.attrs.pop("placeholder", None)
            if "groups" in self.fields:
                self.fields["groups"].initial = ModelGroup.objects.filter(name="default")

    def clean_dialects(self) -> list[str]:
        """Those chosen: in the order there is where they are the same, else in the provider's."""
        chosen = self.cleaned_data["dialects"]
        if set(chosen) == set(self.instance.dialects):
            return self.instance.dialects
        kind = KINDS.get(self.data.get("provider", self.instance.provider))
        order = kind.choices if kind else ()
        return sorted(chosen, key=lambda name: order.index(name) if name in order else len(order))

    def clean(self) -> Any:
        cleaned = super().clean()
        self._fill_in_url()
        if self.cleaned_data.get("credentials") and self.cleaned_data.get("clear_credentials"):
            self.add_error("clear_credentials", "Either give new credentials or clear them.")
        return cleaned

    def _fill_in_url(self) -> None:
        """The base URL of the service that was chosen, else of the provider's own, where none was given."""
        preset = PRESETS.get(self.cleaned_data.get("preset", ""))
        provider, url = self.cleaned_data.get("provider"), self.cleaned_data.get("base_url")
        if preset is not None and provider != Provider.OPENAI_COMPATIBLE:
            self.add_error("preset", "It is OpenAI-compatible: choose that provider.")
        elif preset is not None and url and url != preset.base_url:
            self.add_error("preset", "Either choose a service or give a base URL.")
        elif not url and "base_url" in self.cleaned_data and provider in KINDS:
            self.cleaned_data["base_url"] = preset.base_url if preset else KINDS[provider].base_url

    def new_credentials(self) -> str | None:
        """What to store: a text, "" to forget, None to keep what is there."""
        return "" if self.cleaned_data.get("clear_credentials") else self.cleaned_data.get("credentials") or None


class ChannelModelInline(LabelledInline):
    """The models that a channel serves."""

    model = ChannelModel
    extra = 0
    autocomplete_fields = ("model",)
    verbose_name = "model"
    hide_title = True
    verbose_name_plural = "Models it serves"


class TestForm(forms.Form):
    """Which model to ask."""

    model = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget(), help_text="One short request is sent; the upstream may charge for it."
    )

    def __init__(self, *args: Any, names: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["model"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]


@admin.register(Channel)
class ChannelAdmin(BulkActions, ServiceAdmin):
    """Upstream channels."""

    form = ChannelForm
    inlines = (ChannelModelInline,)
    list_display = (
        "title",
        "state",
        "doing",
        "priority",
        "weight",
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
        services.save_channel(channel=obj, credentials=form.new_credentials(), groups=form.cleaned_data["groups"])

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        saved = formset.save(commit=False)
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


def _describe(channel: Channel, names: list[str]) -> SafeString:
    if not names:
        page = link(page_url("channels_app.channel", "change", channel.pk), "its page")
        return format_html("This channel serves no models yet; add one on {}.", page)
    address = channel.base_url or "the built-in sandbox"
    return format_html("Sends one real request to <b>{}</b> with the stored credentials.", address)
