"""Users, and the roles that say what an operator who is not a superuser may do."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import services
from accounts.models import User
from costrouter.admin.base import ServiceAdmin, badge, link, page_url, two_lines

admin.site.unregister(Group)
POWERS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ServiceAdmin):
    """Operator roles: sets of permissions for staff who are not superusers, who would widen their own."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        services.save_role(role=obj, permissions=form.cleaned_data["permissions"])

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        services.delete_role(role=obj)


class AddUserForm(UserCreationForm):
    """A new user: an address, a name, a password (or none)."""

    class Meta:
        model = User
        fields = ("email", "name")
        field_classes: dict[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["usable_password"]
        field.label, field.help_text = "Sign-in", 'Without a password the user chooses one by "Forgot your password?".'
        field.choices = [("true", "With this password"), ("false", "Without a password")]  # type: ignore[attr-defined]
        field.widget.choices = field.choices  # type: ignore[attr-defined]

    def clean_email(self) -> str:
        return User.objects.normalize_email(self.cleaned_data["email"]).lower()


class EditUserForm(UserChangeForm):
    """An edited user; the password has its own page."""

    class Meta:
        model = User
        fields = "__all__"
        field_classes: dict[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "groups" in self.fields:
            self.fields["groups"].label = "Operator roles"
            self.fields["groups"].help_text = "Each role is a set of permissions."

    def clean_email(self) -> str:
        return User.objects.normalize_email(self.cleaned_data["email"]).lower()


class PasswordForm(AdminPasswordChangeForm):
    """Another user's password, set by an operator."""

    def save(self, commit: bool = True) -> User:
        password = self.cleaned_data["password1"] if self.cleaned_data.get("set_usable_password", True) else None
        services.set_password(user=self.user, password=password)
        return self.user


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ServiceAdmin):
    """People. Only superusers give or take operator rights, or touch another superuser."""

    form = EditUserForm
    add_form = AddUserForm
    add_form_template = "admin/change_form.html"
    change_password_form = PasswordForm
    list_display = ("who", "state", "rights", "date_joined", "last_login")
    list_filter = (("is_active", BooleanRadioFilter), ("is_staff", BooleanRadioFilter))
    list_filter_submit = True
    search_fields = ("email", "name")
    search_help_text = "E-mail or name"
    ordering = ("email",)
    filter_horizontal = ("groups", "user_permissions")
    readonly_fields = ("organization_list", "last_login", "date_joined")
    actions = ("remove_second_factors",)
    fieldsets = (
        (None, {"fields": ("email", "name", "password", "is_active")}),
        ("Organizations", {"fields": ("organization_list",)}),
        ("Operator rights", {"fields": POWERS, "classes": ("tab",)}),
        ("Dates", {"fields": ("last_login", "date_joined"), "classes": ("tab",)}),
    )
    add_fieldsets = (
        (
            None,
            {
                "fields": ("email", "name", "usable_password", "password1", "password2"),
                "description": "A personal organization is made with the user.",
            },
        ),
    )

    @display(description="User", ordering="email")
    def who(self, user: User) -> SafeString:
        return two_lines(user.email, user.name)

    @display(description="State", ordering="is_active")
    def state(self, user: User) -> SafeString:
        return badge("Active", "success") if user.is_active else badge("Off", "danger")

    @display(description="Rights", ordering="is_staff")
    def rights(self, user: User) -> SafeString | str:
        if user.is_superuser:
            return badge("Superuser", "primary")
        return badge("Operator", "info") if user.is_staff else "—"

    @display(description="Member of")
    def organization_list(self, user: User) -> SafeString | str:
        rows = user.memberships.select_related("organization")
        return (
            format_html_join(
                "",
                "<div>{} · {}</div>",
                (
                    (
                        link(page_url("accounts.organization", "change", m.organization_id), m.organization),
                        m.get_role_display(),
                    )
                    for m in rows
                ),
            )
            or "—"
        )

    @admin.action(description="Remove second factors: they lost phone, passkey and codes", permissions=["change"])
    def remove_second_factors(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Not of those whom this operator may not edit. One's own go on one's own page, which asks for proof."""
        users = [user for user in queryset if user != request.user and self.has_change_permission(request, user)]
        changed = services.remove_second_factors(users=users)
        self.message_user(request, f"{changed} can sign in with their password alone.", messages.SUCCESS)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        return self.readonly_fields if request.user.is_superuser else (*self.readonly_fields, *POWERS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        allowed: bool = super().has_change_permission(request, obj)
        if not isinstance(obj, User):
            return allowed
        return allowed and (request.user.is_superuser or not (obj.is_superuser or obj.is_staff) or obj == request.user)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Nobody is deleted: records and the ledger name them. `active` is switched off instead."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change:
            rights = form.cleaned_data if request.user.is_superuser else {}
            services.save_user(user=obj, roles=rights.get("groups"), permissions=rights.get("user_permissions"))
            return
        password = form.cleaned_data.get("password1") if form.cleaned_data.get("set_usable_password", True) else None
        created = services.create_user(email=obj.email, name=obj.name, password=password or None)
        obj.__dict__.update(created.__dict__)
