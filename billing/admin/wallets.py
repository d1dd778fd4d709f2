"""Wallets: what organizations have. Balances move by two pages only, each with a reason that the ledger keeps."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminTextInputWidget

from accounts.models import Organization
from billing import services
from billing.models import Hold, LedgerEntry, Wallet
from costrouter.admin.base import ServiceAdmin, action_page, badge, link, number, page_url, table
from costrouter.admin.fields import UsdField
from costrouter.lib.money import usd_text

MAY_MOVE = "billing.change_wallet"
RECENT = 10


class _ReasonForm(forms.Form):
    """A change with a reason. The key makes a second submission of the same page do nothing."""

    reason = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Kept in the ledger with your name. The organization reads the reason, not the name.",
    )
    once = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput())

    def idempotency_key(self) -> str:
        return f"operator:{self.cleaned_data['once'].hex}"


class AdjustForm(_ReasonForm):
    """A credit or a debit."""

    direction = forms.ChoiceField(
        choices=(("credit", "Credit: add to the balance"), ("debit", "Debit: take from the balance")),
        initial="credit",
        widget=UnfoldAdminRadioSelectWidget(),
    )
    amount = UsdField(
        label="Amount in USD", min_value=0, help_text="Up to nine decimals. A debit may take the balance below zero."
    )
    field_order = ("direction", "amount", "reason")

    def clean_amount(self) -> int:
        amount: int = self.cleaned_data["amount"]
        if amount == 0:
            raise ValidationError("The amount must not be zero.")
        return amount

    def signed_nanos(self) -> int:
        amount: int = self.cleaned_data["amount"]
        return amount if self.cleaned_data["direction"] == "credit" else -amount


class CreditLimitForm(_ReasonForm):
    """How far below zero a wallet may go."""

    limit = UsdField(
        label="Credit limit in USD",
        min_value=0,
        help_text="Requests are granted until the balance would be below minus this.",
    )
    field_order = ("limit", "reason")


class NewWalletForm(forms.ModelForm):
    """A wallet for an organization that has none."""

    organization = forms.ModelChoiceField(Organization.objects.filter(wallet__isnull=True))

    class Meta:
        model = Wallet
        fields = ("organization",)


class StandingFilter(DropdownFilter):
    """Wallets that want attention."""

    title = "standing"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("negative", "Below zero"),
            ("empty", "Nothing available"),
            ("held", "With money held"),
            ("credit", "With credit"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Wallet]) -> QuerySet[Wallet]:
        match self.value():
            case "negative":
                return queryset.filter(balance_nanos__lt=0)
            case "empty":
                return queryset.filter(balance_nanos__lte=F("held_nanos") - F("credit_limit_nanos"))
            case "held":
                return queryset.filter(held_nanos__gt=0)
            case "credit":
                return queryset.filter(credit_limit_nanos__gt=0)
        return queryset


@admin.register(Wallet)
class WalletAdmin(ServiceAdmin):
    """Wallets. The figures are read-only: the relay and the ledger move them."""

    list_display = ("organization", "balance", "held", "credit_limit", "available", "standing")
    list_select_related = ("organization",)
    list_filter = (StandingFilter,)
    list_filter_submit = True
    search_fields = ("organization__name",)
    search_help_text = "Organization"
    show_full_result_count = False
    actions = None
    actions_row = ("adjust", "set_limit")
    actions_detail = ("adjust", "set_limit")
    readonly_fields = ("organization", "balance", "held", "credit_limit", "available", "recent_entries", "look_at")
    fieldsets = (
        (None, {"fields": (("balance", "available"), ("held", "credit_limit"), ("organization", "look_at"))}),
        ("Latest ledger entries", {"fields": ("recent_entries",)}),
    )
    add_fieldsets = ((None, {"fields": ("organization",)}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Wallet | None = None) -> Any:
        return self.readonly_fields if obj is not None else ()

    def get_form(self, request: HttpRequest, obj: Wallet | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewWalletForm
        return super().get_form(request, obj, change=change, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Wallet | None = None) -> bool:
        """There is nothing to edit on the page; moving money checks `billing.change_wallet` itself."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Wallet | None = None) -> bool:
        user: Any = request.user
        return bool(user.has_perm("billing.view_wallet") or user.has_perm(MAY_MOVE))

    def has_move_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        user: Any = request.user
        return bool(user.has_perm(MAY_MOVE))

    def has_delete_permission(self, request: HttpRequest, obj: Wallet | None = None) -> bool:
        return False

    @display(description="Balance", ordering="balance_nanos")
    def balance(self, wallet: Wallet) -> SafeString:
        return number(usd_text(wallet.balance_nanos), "bad" if wallet.balance_nanos < 0 else "")

    @display(description="Held for running requests", ordering="held_nanos")
    def held(self, wallet: Wallet) -> SafeString:
        return number(usd_text(wallet.held_nanos), "" if wallet.held_nanos else "quiet")

    @display(description="Credit limit", ordering="credit_limit_nanos")
    def credit_limit(self, wallet: Wallet) -> SafeString:
        return number(usd_text(wallet.credit_limit_nanos), "" if wallet.credit_limit_nanos else "quiet")

    @display(description="Available", ordering=F("balance_nanos") + F("credit_limit_nanos") - F("held_nanos"))
    def available(self, wallet: Wallet) -> SafeString:
        free = _available(wallet)
        return number(usd_text(free), "bad" if free <= 0 else "")

    @display(description="Standing")
    def standing(self, wallet: Wallet) -> SafeString:
        if wallet.balance_nanos < -wallet.credit_limit_nanos:
            return badge("Below its limit", "danger")
        return badge("Empty", "warning") if _available(wallet) <= 0 else badge("Good", "success")

    @display(description="Look at")
    def look_at(self, wallet: Wallet) -> SafeString:
        return link(page_url("billing.usagerecord", "changelist", organization__id__exact=wallet.pk), "Usage records")

    @display(description="Entries")
    def recent_entries(self, wallet: Wallet) -> SafeString | str:
        entries = list(LedgerEntry.objects.filter(wallet_id=wallet.pk).order_by("-id")[:RECENT])
        waiting = Hold.objects.filter(wallet_id=wallet.pk, captured=True)[:1000].count() if wallet.held_nanos else 0
        rows: list[list[object]] = [
            [
                link(page_url("billing.ledgerentry", "change", entry.pk), f"{entry.created_at:%Y-%m-%d %H:%M}"),
                entry.get_kind_display(),
                number(usd_text(entry.amount_nanos), "bad" if entry.amount_nanos < 0 else ""),
                f"{entry.requests:,}" if entry.requests else "",
                entry.note,
            ]
            for entry in entries
        ]
        if waiting:
            rows.insert(0, ["", "Waiting to be settled", "", f"{waiting:,}", ""])
        if not rows:
            return "None yet."
        more = link(page_url("billing.ledgerentry", "changelist", wallet__organization__exact=wallet.pk), "All of them")
        return table(["When (UTC)", "Kind", "Amount", "Requests", "Note"], rows, (2, 3)) + more

    def save_model(self, request: HttpRequest, obj: Wallet, form: Any, change: bool) -> None:
        made = services.wallet_of(organization=form.cleaned_data["organization"])
        obj.__dict__.update(made.__dict__)

    def _wallet(self, request: HttpRequest, object_id: str) -> Wallet:
        if not self.has_move_permission(request):
            raise PermissionDenied
        wallet: Wallet | None = self.get_object(request, object_id)
        if wallet is None:
            raise Http404
        return wallet

    @action(
        description="Credit / debit",
        url_path="adjust",
        icon="price_change",
        variant=ActionVariant.PRIMARY,
        permissions=["move"],
    )
    def adjust(self, request: HttpRequest, object_id: str) -> HttpResponse:
        wallet = self._wallet(request, object_id)
        form = AdjustForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            amount = form.signed_nanos()
            try:
                moved = services.adjust(
                    wallet=wallet,
                    amount_nanos=amount,
                    reason=form.cleaned_data["reason"],
                    actor=request.user,  # type: ignore[arg-type]
                    idempotency_key=form.idempotency_key(),
                )
            except ValidationError as error:
                form.add_error(None, error)
            else:
                done = (
                    f"{usd_text(abs(amount))} {'credited to' if amount > 0 else 'debited from'} {wallet.organization}."
                )
                return self._done(request, wallet, moved, done)
        return action_page(
            self, request, wallet, title="Credit / debit", form=form, submit="Write to the ledger", facts=_facts(wallet)
        )

    @action(description="Set credit limit", url_path="credit-limit", icon="credit_score", permissions=["move"])
    def set_limit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        wallet = self._wallet(request, object_id)
        form = CreditLimitForm(request.POST or None, initial={"limit": wallet.credit_limit_nanos})
        if request.method == "POST" and form.is_valid():
            try:
                changed = services.set_credit_limit(
                    wallet=wallet,
                    limit_nanos=form.cleaned_data["limit"],
                    actor=request.user,  # type: ignore[arg-type]
                    reason=form.cleaned_data["reason"],
                    idempotency_key=form.idempotency_key(),
                )
            except ValidationError as error:
                form.add_error(None, error)
            else:
                done = f"The credit limit of {wallet.organization} is {usd_text(form.cleaned_data['limit'])}."
                return self._done(request, wallet, changed, done)
        return action_page(
            self, request, wallet, title="Set credit limit", form=form, submit="Set the limit", facts=_facts(wallet)
        )

    def _done(self, request: HttpRequest, wallet: Wallet, changed: bool, text: str) -> HttpResponse:
        if changed:
            self.log_change(request, wallet, text)
            self.message_user(request, text, messages.SUCCESS)
        else:
            self.message_user(request, "Nothing changed: this was done before, or is already so.", messages.WARNING)
        return HttpResponseRedirect(page_url("billing.wallet", "change", wallet.pk))


def _available(wallet: Wallet) -> int:
    return wallet.balance_nanos + wallet.credit_limit_nanos - wallet.held_nanos


def _facts(wallet: Wallet) -> list[tuple[str, str]]:
    return [
        ("Balance", usd_text(wallet.balance_nanos)),
        ("Held", usd_text(wallet.held_nanos)),
        ("Credit limit", usd_text(wallet.credit_limit_nanos)),
        ("Available", usd_text(_available(wallet))),
    ]
