"""Redemption codes: batches that operators make, and the codes in them, for those who may read them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, BooleanRadioFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from billing import redemption
from billing.admin.lists import BoundedPaginator
from billing.admin.names import attach_names, name_of
from billing.models import RedemptionBatch, RedemptionCode
from billing.redemption import MAX_CODES, code_text, codes_of, digest_of, plain_code
from costrouter.admin.base import PlainList, ReadOnlyAdmin, ServiceAdmin, action_page, badge, link, number, page_url
from costrouter.admin.fields import UsdField
from costrouter.lib.money import usd_number, usd_text

CSV_HEADER = ("code", "worth_usd", "claimed_at", "claimed_by", "claimed_by_user")


class BatchForm(forms.ModelForm):
    """A new batch."""

    amount_nanos = UsdField(label="Worth in USD", min_value=0, help_text="What each code puts into a wallet.")
    count = forms.IntegerField(
        label="Codes",
        min_value=1,
        max_value=MAX_CODES,
        initial=10,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=f"How many to make, at most {MAX_CODES:,}.",
    )

    class Meta:
        model = RedemptionBatch
        fields = ("name", "amount_nanos", "expires_at", "note")
        help_texts = {"name": "Stands in the ledger of whoever redeems a code.", "note": "For operators only."}


@admin.register(RedemptionBatch)
class RedemptionBatchAdmin(ServiceAdmin):
    """Batches of codes. What was made is not edited; it can be disabled, and enabled again."""

    list_display = ("name", "state", "worth", "claimed", "expires_at", "created_by_name", "created_at")
    list_display_links = ("name",)
    list_filter = (("disabled", BooleanRadioFilter),)
    list_filter_submit = True
    search_fields = ("name",)
    search_help_text = "Name"
    show_full_result_count = False
    actions = None
    actions_detail = ("codes_csv", "disable", "enable")
    ordering = ("-id",)
    add_fieldsets = ((None, {"fields": (("name", "amount_nanos"), ("count", "note"), "expires_at")}),)
    fieldsets = (
        (None, {"fields": (("name", "state"), ("worth", "claimed"), ("paid", "expires_at"), ("note", "look_at"))}),
        ("Made", {"fields": (("created_by_name", "created_at"),)}),
    )
    readonly_fields = (
        *("name", "state", "worth", "claimed", "paid", "expires_at", "note", "look_at"),
        *("created_by_name", "created_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[RedemptionBatch]:
        codes = RedemptionCode.objects.filter(batch=OuterRef("pk")).order_by().values("batch")
        return (
            super()
            .get_queryset(request)
            .annotate(
                made_count=Coalesce(Subquery(codes.annotate(n=Count("pk")).values("n")), 0),
                claimed_count=Coalesce(Subquery(codes.annotate(n=Count("claimed_at")).values("n")), 0),
            )
        )

    def get_readonly_fields(self, request: HttpRequest, obj: RedemptionBatch | None = None) -> Any:
        return self.readonly_fields if obj is not None else ()

    def get_form(
        self, request: HttpRequest, obj: RedemptionBatch | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            kwargs["form"] = BatchForm
        return super().get_form(request, obj, change=change, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """There is nothing to edit on the page; the actions ask for the permission themselves."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        user: Any = request.user
        return bool(user.has_perm("billing.view_redemptionbatch") or user.has_perm("billing.change_redemptionbatch"))

    def has_switch_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        user: Any = request.user
        return bool(user.has_perm("billing.change_redemptionbatch"))

    def has_read_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        user: Any = request.user
        return bool(user.has_perm("billing.view_redemptioncode"))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """Of disable and enable, the one that would change something."""
        found = super().get_actions_detail(request, object_id)
        batch = RedemptionBatch.objects.filter(pk=object_id).first() if str(object_id).isdecimal() else None
        passed_over = "enable" if batch is None or not batch.disabled else "disable"
        return [item for item in found if not item.action_name.endswith(passed_over)]

    def save_model(self, request: HttpRequest, obj: RedemptionBatch, form: Any, change: bool) -> None:
        made = redemption.create_batch(
            name=obj.name,
            amount_nanos=obj.amount_nanos,
            count=form.cleaned_data["count"],
            expires_at=obj.expires_at,
            note=obj.note,
            actor=request.user,  # type: ignore[arg-type]
        )
        obj.pk = made.pk

    @display(description="State")
    def state(self, batch: RedemptionBatch) -> SafeString:
        if batch.disabled:
            return badge("Disabled", "danger")
        if batch.expires_at is not None and batch.expires_at <= timezone.now():
            return badge("Expired", "warning")
        return badge("Used up", "default") if batch.claimed_count == batch.made_count else badge("Open", "success")  # type: ignore[attr-defined]

    @display(description="Worth each", ordering="amount_nanos")
    def worth(self, batch: RedemptionBatch) -> SafeString:
        return number(usd_text(batch.amount_nanos))

    @display(description="Claimed")
    def claimed(self, batch: RedemptionBatch) -> SafeString:
        return number(f"{batch.claimed_count:,} of {batch.made_count:,}")  # type: ignore[attr-defined]

    @display(description="Credited, of all it is worth")
    def paid(self, batch: RedemptionBatch) -> SafeString:
        claimed, made = (
            usd_text(batch.amount_nanos * count)
            for count in (batch.claimed_count, batch.made_count)  # type: ignore[attr-defined]
        )
        return number(f"{claimed} of {made}")

    @display(description="Made by")
    def created_by_name(self, batch: RedemptionBatch) -> SafeString | str:
        return name_of(batch, "created_by_id")

    @display(description="Look at")
    def look_at(self, batch: RedemptionBatch) -> SafeString:
        return link(page_url("billing.redemptioncode", "changelist", batch__id__exact=batch.pk), "Its codes")

    @action(description="Codes as CSV", url_path="codes-csv", icon="download", permissions=["read"])
    def codes_csv(self, request: HttpRequest, object_id: str) -> HttpResponse:
        batch = self._batch(object_id)
        return HttpResponse(
            "".join(_csv_lines(batch)),
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="codes-{batch.pk}.csv"',
                "Cache-Control": "no-store",
            },
        )

    @action(
        description="Disable", url_path="disable", icon="block", variant=ActionVariant.DANGER, permissions=["switch"]
    )
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        batch = self._batch(object_id)
        if request.method == "POST":
            redemption.disable_batch(batch=batch)
            return self._done(request, batch, f"No code of {batch} can be redeemed any more.")
        return self._ask(request, batch, "Disable this batch", "Codes that were redeemed keep what they were worth.")

    @action(description="Enable", url_path="enable", icon="check", permissions=["switch"])
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        batch = self._batch(object_id)
        if request.method == "POST":
            redemption.enable_batch(batch=batch)
            return self._done(request, batch, f"The codes of {batch} can be redeemed again.")
        return self._ask(request, batch, "Enable this batch", "Codes that are left can be redeemed again.")

    def _ask(self, request: HttpRequest, batch: RedemptionBatch, title: str, intro: str) -> HttpResponse:
        return action_page(self, request, batch, title=title, form=forms.Form(), submit=title, intro=intro)

    def _done(self, request: HttpRequest, batch: RedemptionBatch, text: str) -> HttpResponse:
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(page_url("billing.redemptionbatch", "change", batch.pk))

    def _batch(self, object_id: str) -> RedemptionBatch:
        batch = RedemptionBatch.objects.filter(pk=object_id).first() if object_id.isdecimal() else None
        if batch is None:
            raise Http404
        return batch


class _Echo:
    """A file whose writes are what `csv` returns."""

    def write(self, line: str) -> str:
        return line


def _csv_lines(batch: RedemptionBatch) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(CSV_HEADER)
    worth = usd_number(batch.amount_nanos)
    for row in codes_of(batch):
        at = f"{row.claimed_at:%Y-%m-%dT%H:%M:%SZ}" if row.claimed_at is not None else ""
        yield writer.writerow([row.code or "", worth, at, _safe(row.claimed_by), _safe(row.claimed_by_user)])


def _safe(name: str) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return f"'{name}" if name[:1] in tuple("=+-@\t\r") else name


class NamedList(PlainList):
    """A list with the names of who claimed."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = attach_names(self.result_list)


@admin.register(RedemptionCode)
class RedemptionCodeAdmin(ReadOnlyAdmin):
    """Codes, readable. Each shows who claimed it."""

    list_display = ("code", "batch", "state", "claimed_at", "organization", "user")
    list_display_links = ("code",)
    list_select_related = ("batch",)
    list_filter = (("batch", AutocompleteSelectFilter),)
    list_filter_submit = True
    search_fields = ("digest",)
    search_help_text = "A whole code"
    show_full_result_count = False
    paginator = BoundedPaginator
    ordering = ("-id",)
    sortable_by = ()
    fields = (("code", "batch"), ("state", "claimed_at"), ("organization", "user"))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NamedList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        if not search_term.strip():
            return queryset, False
        plain = plain_code(search_term)
        return (queryset.filter(digest=digest_of(plain)) if plain is not None else queryset.none()), False

    @display(description="Code")
    def code(self, row: RedemptionCode) -> SafeString:
        return number(code_text(row) or "(cannot be decrypted)")

    @display(description="State")
    def state(self, row: RedemptionCode) -> SafeString:
        return badge("Claimed", "default") if row.claimed_at is not None else badge("Not claimed", "success")

    @display(description="Claimed by")
    def organization(self, row: RedemptionCode) -> SafeString | str:
        return name_of(row, "claimed_by_id")

    @display(description="Member")
    def user(self, row: RedemptionCode) -> SafeString | str:
        return name_of(row, "claimed_by_user_id")
