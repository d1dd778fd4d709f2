"""Model groups: which channels a key may use, and at what rate."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.decorators import display

from channels_app import services
from channels_app.models import ModelGroup
from costrouter.admin.base import ServiceAdmin, badge, link, number, page_url, two_lines
from costrouter.admin.fields import plain


@admin.register(ModelGroup)
class ModelGroupAdmin(ServiceAdmin):
    """Groups of channels."""

    list_display = ("title", "rate_text", "open_to", "channel_count", "key_link")
    list_display_links = ("title",)
    list_filter = (("is_public", BooleanRadioFilter),)
    list_filter_submit = True
    ordering = ("name",)
    search_fields = ("name", "description")
    autocomplete_fields = ("organizations",)
    fieldsets = (
        (None, {"fields": (("name", "rate"), "description")}),
        ("Who may use it", {"fields": ("is_public", "organizations")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelGroup]:
        return (
            super()
            .get_queryset(request)
            .annotate(
                channels_total=Count("channels", distinct=True),
                organizations_total=Count("organizations", distinct=True),
            )
        )

    @display(description="Group", ordering="name")
    def title(self, group: ModelGroup) -> SafeString:
        return two_lines(group.name, group.description)

    @display(description="Rate", ordering="rate")
    def rate_text(self, group: ModelGroup) -> SafeString:
        return number(f"× {plain(group.rate)}")

    @display(description="Open to")
    def open_to(self, group: Any) -> SafeString:
        if group.is_public:
            return badge("Everyone", "success")
        count = group.organizations_total
        return badge(f"{count} organization{'s' * (count != 1)}", "warning" if count else "danger")

    @display(description="Channels", ordering="channels_total")
    def channel_count(self, group: Any) -> SafeString:
        return link(
            page_url("channels_app.channel", "changelist", groups__id__exact=group.pk), number(group.channels_total)
        )

    @display(description="Keys")
    def key_link(self, group: ModelGroup) -> SafeString:
        return link(page_url("accounts.apikey", "changelist", group=group.name), "Keys of this group")

    def save_model(self, request: HttpRequest, obj: ModelGroup, form: Any, change: bool) -> None:
        services.save_group(group=obj, organizations=form.cleaned_data["organizations"])

    def delete_model(self, request: HttpRequest, obj: ModelGroup) -> None:
        services.delete_group(group=obj)
