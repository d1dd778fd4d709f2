"""What every admin page here shares: writes go through services, and their errors are shown in the form."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import ShowFacets
from django.core.exceptions import ValidationError
from django.db import transaction
from django.forms import Media
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.views import ChangeList

# What Django adds for fields that are filled from others, which no page here has: 60 kB on the wire.
_UNUSED_SCRIPTS = ("urlify.js", "prepopulate.js", "xregexp.js", "xregexp.min.js")


class LightAdmin(ModelAdmin):
    """A model's pages without the scripts that they do not need."""

    @property
    def media(self) -> Media:
        media = super().media
        scripts = [name for name in media._js if not str(name).endswith(_UNUSED_SCRIPTS)]  # type: ignore[attr-defined]
        return Media(css=media._css, js=scripts)  # type: ignore[attr-defined]


class PlainList(ChangeList):
    """A list whose heading does not offer to count or show everything."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.show_full_result_count:
            self.full_result_count = self.result_count


class ServiceAdmin(LightAdmin):
    """A model whose writes are service calls. `save_model` and `delete_model` call them; nothing else writes.

    A service's ValidationError becomes an error of the form: what it did is rolled back and the page is shown again.
    """

    compressed_fields = True
    warn_unsaved_form = True
    list_per_page = 50
    # Counting every choice of every filter reads whole tables.
    show_facets = ShowFacets.NEVER

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PlainList

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        error: ValidationError | None = getattr(request, "service_error", None)
        return form if error is None else _with_error(form, error)

    def _changeform_view(
        self, request: HttpRequest, object_id: str | None, form_url: str, extra_context: dict[str, Any] | None
    ) -> HttpResponse:
        if request.method != "POST":
            return super()._changeform_view(request, object_id, form_url, extra_context)
        try:
            with transaction.atomic():
                return super()._changeform_view(request, object_id, form_url, extra_context)
        except ValidationError as error:
            request.service_error = error  # type: ignore[attr-defined]
            return super()._changeform_view(request, object_id, form_url, extra_context)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The services have stored the many-to-many fields; only inlines remain."""
        for formset in formsets:
            self.save_formset(request, form, formset, change=change)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        with transaction.atomic():
            for obj in queryset:
                self.delete_model(request, obj)


class LabelledInline(TabularInline):
    """Rows of a table whose fields say what they are to a screen reader too: the heading of a column is no label."""

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and field.label:
            widget = getattr(field.widget, "widget", field.widget)
            widget.attrs["aria-label"] = str(field.label)
        return field


class ReadOnlyAdmin(LightAdmin):
    """A model that nobody edits here. Viewing needs the permission to view it."""

    list_per_page = 50
    show_facets = ShowFacets.NEVER
    actions = None

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OfWallets:
    """For lists that are filtered by wallet. Django takes its key, which is another relation, for a walk into it."""

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        if lookup == "wallet__organization__exact":
            return True
        return bool(super().lookup_allowed(lookup, value, request))  # type: ignore[misc]


def _with_error(form: Any, error: ValidationError) -> Any:
    class FormWithError(form):  # type: ignore[misc]
        def _post_clean(self) -> None:
            super()._post_clean()
            by_field = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
            for name, messages in by_field.items():
                # Django's own validation of the model may have said the same already.
                if not (name in self.errors and set(messages) <= set(self.errors[name])):
                    self.add_error(name if name in self.fields else None, messages)

    return FormWithError


def lookup(name: str, *args: Any) -> Any:
    """A read that crosses apps (`costrouter/dashboard/lookups.py`), found by name so that no app imports another."""
    return import_string(f"costrouter.dashboard.lookups.{name}")(*args)


def badge(text: object, variant: str = "default") -> SafeString:
    """A coloured label: success, info, warning, danger, primary or default."""
    return SafeString(render_to_string("unfold/helpers/label.html", {"text": text, "variant": variant}))


def link(url: str, text: object) -> SafeString:
    return format_html('<a class="cr-link" href="{}">{}</a>', url, text)


def number(text: object, tone: str = "") -> SafeString:
    """Figures of equal width that do not wrap. `tone`: bad, quiet."""
    return format_html('<span class="cr-num {}">{}</span>', f"cr-{tone}" if tone else "", text)


def two_lines(first: object, second: object) -> SafeString:
    return format_html('<span class="cr-two">{}<small>{}</small></span>', first, second)


def table(headers: list[str], rows: list[list[object]], numeric: tuple[int, ...] = ()) -> SafeString:
    """A small table in a page. `numeric`: the columns aligned to the right, from 0."""
    return SafeString(
        render_to_string("admin/parts/table.html", {"headers": headers, "rows": rows, "numeric": numeric})
    )


def page_url(label: str, page: str, *args: object, **query: object) -> str:
    """The address of an admin page: `page_url("billing.wallet", "change", 7)`."""
    url = reverse(f"admin:{label.replace('.', '_')}_{page}", args=args)
    return f"{url}?{urlencode(query)}" if query else url


def action_page(
    model_admin: ModelAdmin, request: HttpRequest, obj: Any, *, title: str, form: Any, submit: str, **context: Any
) -> TemplateResponse:
    """A page that asks before it acts: a form that is posted to this same address."""
    return TemplateResponse(
        request,
        "admin/action_page.html",
        {
            **model_admin.admin_site.each_context(request),
            "opts": model_admin.opts,
            "original": obj,
            "title": title,
            "subtitle": str(obj),
            "form": form,
            "media": model_admin.media + form.media,
            "submit_text": submit,
            "back": reverse(f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_change", args=[obj.pk]),
            **context,
        },
    )
