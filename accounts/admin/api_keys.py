"""API keys. A key's secret is shown on one page, once; only its keyed hash is stored."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, BooleanRadioFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget

from accounts import services
from accounts.models import ApiKey
from costrouter.admin.base import ServiceAdmin, badge, link, lookup, page_url, two_lines
from costrouter.admin.fields import LinesField, NamesField
from costrouter.admin.filters import GroupFilter

RATE_FIELDS = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")


class ApiKeyForm(forms.ModelForm):
    """A key's limits in friendly fields."""

    group = forms.ChoiceField(
        label="Model group",
        initial="default",
        widget=UnfoldAdminSelectWidget(),
        help_text="Decides which channels serve it and at what rate.",
    )
    allowed_models = NamesField(label="Models", help_text="What it may use. Empty: every model of its group.")
    allowed_ips = LinesField(
        label="Allowed addresses",
        help_text="IP addresses or networks such as 203.0.113.0/24, one a line. Empty: it works from anywhere.",
    )

    class Meta:
        model = ApiKey
        fields = (
            "organization",
            "user",
            "name",
            "enabled",
            "expires_at",
            "allowed_models",
            "allowed_ips",
            "group",
            *RATE_FIELDS,
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["allowed_models"].offer(lookup("model_names"), self.instance.allowed_models)  # type: ignore[attr-defined]
        groups = lookup("group_names") or ["default"]
        kept = [self.instance.group] if self.instance.pk and self.instance.group not in groups else []
        self.fields["group"].choices = [  # type: ignore[attr-defined]
            *((name, name) for name in groups),
            *((name, f"{name} (does not exist: refused)") for name in kept),
        ]


@admin.register(ApiKey)
class ApiKeyAdmin(ServiceAdmin):
    """Keys of client SDKs."""

    form = ApiKeyForm
    list_display = ("key", "state", "organization", "user", "group", "limits", "expires_at", "created_at")
    list_display_links = ("key",)
    list_select_related = ("organization", "user")
    list_filter = (
        ("enabled", BooleanRadioFilter),
        GroupFilter,
        ("organization", AutocompleteSelectFilter),
        ("user", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    search_fields = ("name", "prefix", "user__email", "organization__name")
    search_help_text = "Name, first characters, user or organization"
    show_full_result_count = False
    autocomplete_fields = ("organization", "user")
    readonly_fields = ("prefix_text", "created_at", "look_at")
    actions = ("revoke", "enable")
    add_fieldsets = (
        (None, {"fields": (("organization", "user"), ("name", "group"))}),
        ("Limits", {"fields": ("allowed_models", "allowed_ips", "expires_at", *RATE_FIELDS)}),
    )
    fieldsets = (
        (None, {"fields": (("prefix_text", "look_at"), ("organization", "user"), ("name", "group"), "enabled")}),
        ("Limits", {"fields": ("allowed_models", "allowed_ips", "expires_at", *RATE_FIELDS)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        """Neither what is deleted nor what the playground uses for minutes."""
        return super().get_queryset(request).filter(deleted_at__isnull=True, purpose=ApiKey.Purpose.API)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> ApiKey | None:
        """Any key: usage records link to those that are deleted too, which can be looked at only."""
        return ApiKey.objects.filter(pk=object_id).first() if object_id.isdecimal() else None

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.deleted_at is None)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or obj.deleted_at is None)

    @display(description="Key", ordering="name")
    def key(self, key: ApiKey) -> SafeString:
        return two_lines(key.name, f"{key.prefix}…")

    @display(description="Begins with")
    def prefix_text(self, key: ApiKey) -> str:
        facts = [f"made {key.created_at:%Y-%m-%d %H:%M} UTC"]
        if key.previous_expires_at is not None and key.previous_expires_at > timezone.now():
            facts.append(f"the secret before works until {key.previous_expires_at:%Y-%m-%d %H:%M} UTC")
        if key.deleted_at is not None:
            facts.append(f"deleted {key.deleted_at:%Y-%m-%d %H:%M} UTC")
        return f"{key.prefix}…  ({', '.join(facts)})"

    @display(description="Look at")
    def look_at(self, key: ApiKey) -> SafeString:
        return link(page_url("billing.usagerecord", "changelist", api_key__id__exact=key.pk), "Its usage records")

    @display(description="State", ordering="enabled")
    def state(self, key: ApiKey) -> SafeString:
        if not key.enabled:
            return badge("Revoked", "danger")
        if key.expires_at is not None and key.expires_at <= timezone.now():
            return badge("Expired", "warning")
        return badge("Enabled", "success")

    @display(description="Limits")
    def limits(self, key: ApiKey) -> str:
        models, addresses = len(key.allowed_models), len(key.allowed_ips)
        found = [f"{models} model{'s' * (models != 1)}"] if models else []
        found += [f"{addresses} address{'es' * (addresses != 1)}"] if addresses else []
        rates = zip(RATE_FIELDS, ("requests/min", "tokens/min", "at once"), strict=True)
        found += [f"{value:,} {unit}" for name, unit in rates if (value := getattr(key, name)) is not None]
        return ", ".join(found) or "—"

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            services.save_api_key(key=obj)
            return
        created, secret = services.create_api_key(
            organization=obj.organization,
            user=obj.user,
            name=obj.name,
            expires_at=obj.expires_at,
            allowed_models=obj.allowed_models,
            allowed_ips=obj.allowed_ips,
            group=obj.group,
            **{name: getattr(obj, name) for name in RATE_FIELDS},
        )
        obj.__dict__.update(created.__dict__)
        request.new_secret = secret  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """The one page that shows the secret. It is answered to the POST itself: nothing keeps it for later."""
        response = TemplateResponse(
            request,
            "admin/key_created.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": "API key created",
                "subtitle": obj.name,
                "key": obj,
                "secret": request.new_secret,  # type: ignore[attr-defined]
                "change_url": page_url("accounts.apikey", "change", obj.pk),
                "list_url": page_url("accounts.apikey", "changelist"),
            },
        )
        response["Cache-Control"] = "no-store"
        return response

    def delete_model(self, request: HttpRequest, obj: ApiKey) -> None:
        services.delete_api_key(key=obj)

    @admin.action(description="Revoke: refuse requests under them", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        changed = services.set_api_keys_enabled(keys=queryset, enabled=False)
        self.message_user(
            request, f"{changed} revoked. Requests under them are refused within a second.", messages.SUCCESS
        )

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        changed = services.set_api_keys_enabled(keys=queryset, enabled=True)
        self.message_user(request, f"{changed} enabled.", messages.SUCCESS)
