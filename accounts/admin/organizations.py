"""Organizations and who is in them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter
from unfold.decorators import display

from accounts import services
from accounts.admin.api_keys import RATE_FIELDS
from accounts.models import Membership, Organization, User
from costrouter.admin.base import LabelledInline, ServiceAdmin, badge, link, number, page_url
from costrouter.lib.money import usd_text


class NewOrganizationForm(forms.ModelForm):
    """A new organization with its first owner."""

    owner = forms.ModelChoiceField(User.objects.all(), help_text="The first member; more are added afterwards.")

    class Meta:
        model = Organization
        fields = ("name",)


class _Text(forms.Widget):
    """What a field is, for reading."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        return format_html("<span>{}</span>", self.text)


class MembershipForm(forms.ModelForm):
    """A membership. Whose it is is chosen once: choosing among all users again would cost a query a row."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["user"].disabled = True
            self.fields["user"].widget = _Text(str(self.instance.user))


class MembershipInline(LabelledInline):
    """Members. Taking one out revokes their keys of this organization."""

    model = Membership
    form = MembershipForm
    extra = 0
    hide_title = True
    verbose_name = "member"
    autocomplete_fields = ("user",)
    verbose_name_plural = "Members (removing one revokes their keys here)"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "organization")


@admin.register(Organization)
class OrganizationAdmin(ServiceAdmin):
    """The tenants. None is deleted: records and the ledger name them; suspend instead."""

    list_display = ("name", "state", "balance", "member_count", "kind", "created_at")
    list_filter = (("status", ChoicesDropdownFilter), ("is_personal", BooleanRadioFilter))
    list_filter_submit = True
    search_fields = ("name", "memberships__user__email")
    search_help_text = "Name or a member's e-mail"
    show_full_result_count = False
    ordering = ("name",)
    list_select_related = ("wallet",)
    readonly_fields = ("is_personal", "created_at", "money", "look_at")
    actions = ("suspend", "activate")
    inlines = (MembershipInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        return super().get_queryset(request).annotate(members_total=Count("memberships", distinct=True))

    def get_fieldsets(self, request: HttpRequest, obj: Organization | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("name", "owner")}),)
        return (
            (None, {"fields": (("name", "status"), ("money", "look_at"), ("is_personal", "created_at"))}),
            ("Limits of all its keys together", {"fields": RATE_FIELDS}),
        )

    def get_form(
        self, request: HttpRequest, obj: Organization | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            kwargs["form"] = NewOrganizationForm
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is None:
            field = Membership._meta.get_field("user")
            form.base_fields["owner"].widget = AutocompleteSelect(field, self.admin_site)
        return form

    def get_inlines(self, request: HttpRequest, obj: Organization | None) -> Any:
        return self.inlines if obj is not None else ()

    @display(description="Status", ordering="status")
    def state(self, organization: Organization) -> SafeString:
        active = organization.status == Organization.Status.ACTIVE
        return badge(organization.get_status_display(), "success" if active else "danger")

    @display(description="Kind", ordering="is_personal")
    def kind(self, organization: Organization) -> str:
        return "Personal" if organization.is_personal else "Shared"

    @display(description="Members", ordering="members_total")
    def member_count(self, organization: Any) -> SafeString:
        return number(organization.members_total)

    @display(description="Balance", ordering="wallet__balance_nanos")
    def balance(self, organization: Organization) -> SafeString | str:
        wallet = getattr(organization, "wallet", None)
        if wallet is None:
            return "—"
        tone = "bad" if wallet.balance_nanos < 0 else ""
        return link(page_url("billing.wallet", "change", organization.pk), number(usd_text(wallet.balance_nanos), tone))

    @display(description="Balance")
    def money(self, organization: Organization) -> SafeString | str:
        balance = self.balance(organization)
        if balance == "—":
            return link(page_url("billing.wallet", "add", organization=organization.pk), "Make a wallet")
        return balance

    @display(description="Look at")
    def look_at(self, organization: Organization) -> SafeString:
        query = {"organization__id__exact": organization.pk}
        return format_html(
            "{} · {} · {}",
            link(page_url("accounts.apikey", "changelist", **query), "API keys"),
            link(page_url("billing.usagerecord", "changelist", **query), "Usage records"),
            link(page_url("billing.budget", "changelist", **query), "Budgets"),
        )

    def has_delete_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        if change:
            services.save_organization(organization=obj)
            return
        created = services.create_organization(name=obj.name, owner=form.cleaned_data["owner"])
        obj.__dict__.update(created.__dict__)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        saved = formset.save(commit=False)
        services.change_members(organization=form.instance, saved=saved, removed=formset.deleted_objects)

    def _set_status(self, request: HttpRequest, queryset: QuerySet[Organization], status: str, done: str) -> None:
        changed = services.set_organizations_status(organizations=queryset, status=status)
        self.message_user(request, f"{changed} {done}.", messages.SUCCESS)

    @admin.action(description="Suspend: refuse their requests", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        self._set_status(request, queryset, Organization.Status.SUSPENDED, "suspended")

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        self._set_status(request, queryset, Organization.Status.ACTIVE, "activated")
