"""What is done with many channels at once: enable, disable, test, copy, export; and the page that imports a file."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.views.decorators.debug import sensitive_post_parameters
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget

from channels_app import health, services, transfer
from channels_app.models import Channel
from costrouter.admin.base import link, page_url
from costrouter.lib import crypto

# Each test may take as long as its upstream: an operator waits for it.
MOST_TESTED = 50
# A form's fields are kept in memory; files of channels are small.
MAX_UPLOAD = 1024 * 1024


class ImportForm(forms.Form):
    """A file, or its text."""

    file = forms.FileField(
        required=False,
        widget=UnfoldAdminFileFieldWidget({"accept": ".json,application/json"}),
        help_text="What an export wrote, or a file of that shape. At most 1 MB.",
    )
    text = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 8, "spellcheck": "false"}),
        label="Or its text",
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        file, text = cleaned.get("file"), (cleaned.get("text") or "").strip()
        if bool(file) == bool(text):
            raise ValidationError("Choose a file, or paste its text.")
        if file and file.size > MAX_UPLOAD:
            raise ValidationError("The file is larger than 1 MB.")
        cleaned["document"] = transfer.read_document(file.read() if file else text.encode())
        return cleaned


class BulkActions:
    """Actions of the list of channels. A mixin of its admin."""

    actions = ("enable", "disable", "test_all", "clone", "export", "export_with_credentials")
    actions_list = ("import_file",)

    def has_export_credentials_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return bool(user.has_perm("channels_app.export_credentials"))

    def _set_status(self: Any, request: HttpRequest, queryset: QuerySet[Channel], status: str, done: str) -> None:
        changed = services.set_channels_status(channels=queryset, status=status)
        self.message_user(request, f"{changed} {done}.", messages.SUCCESS)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        self._set_status(request, queryset, Channel.Status.ENABLED, "enabled")

    @admin.action(description="Disable: send no new requests", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        self._set_status(request, queryset, Channel.Status.DISABLED, "disabled")

    @admin.action(description="Test: one real request each", permissions=["change"])
    def test_all(self: Any, request: HttpRequest, queryset: QuerySet[Channel]) -> HttpResponse | None:
        """The page of the results, the failures first."""
        chosen = list(queryset.order_by("name")[: MOST_TESTED + 1])
        if len(chosen) > MOST_TESTED:
            self.message_user(request, f"At most {MOST_TESTED} channels are tested at once.", messages.ERROR)
            return None
        found = health.check_channels(channels=chosen)
        rows = [
            {
                "name": channel.name,
                "url": page_url("channels_app.channel", "change", channel.pk),
                "test_url": page_url("channels_app.channel", "test", channel.pk),
                "result": result,
            }
            for channel, result in sorted(found, key=lambda pair: (pair[1].ok, pair[0].name))
        ]
        return self._page(
            request,
            "admin/channel_tests.html",
            title="Tests of channels",
            rows=rows,
            worked=sum(result.ok for _, result in found),
        )

    @admin.action(description="Copy, with credentials, disabled", permissions=["add"])
    def clone(self: Any, request: HttpRequest, queryset: QuerySet[Channel]) -> HttpResponse | None:
        """One copy leads to its page, to be changed; of more, a message names each."""
        try:
            copies = [services.clone_channel(channel=channel) for channel in queryset]
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
            return None
        places = [(page_url("channels_app.channel", "change", copy.pk), copy.name) for copy in copies]
        links = format_html_join(", ", "{}", ((link(url, name),) for url, name in places))
        self.message_user(request, format_html("Copied, and disabled: {}.", links), messages.SUCCESS)
        return HttpResponseRedirect(places[0][0]) if len(places) == 1 else None

    @admin.action(description="Export as JSON, without credentials", permissions=["view"])
    def export(self, request: HttpRequest, queryset: QuerySet[Channel]) -> HttpResponse:
        return _download(transfer.export_channels(channels=_with_places(queryset)))

    @admin.action(description="Export as JSON, with credentials in clear", permissions=["export_credentials"])
    def export_with_credentials(self: Any, request: HttpRequest, queryset: QuerySet[Channel]) -> HttpResponse | None:
        if not self.has_export_credentials_permission(request):
            raise PermissionDenied
        try:
            return _download(transfer.export_channels(channels=_with_places(queryset), with_credentials=True))
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
            return None

    def has_import_permission(self: Any, request: HttpRequest) -> bool:
        """An import makes channels and changes them."""
        return bool(self.has_add_permission(request) and self.has_change_permission(request))

    @action(description="Import", url_path="import", icon="upload_file", permissions=["import"])
    @method_decorator(sensitive_post_parameters("text", "sealed"))
    def import_file(self: Any, request: HttpRequest) -> HttpResponse:
        """A file, then what it would do, then doing it. In between the page keeps it, sealed: it may hold secrets."""
        sealed = request.POST.get("sealed", "")
        if sealed:
            return self._import(request, sealed)
        form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
        plan = None
        if request.method == "POST" and form.is_valid():
            document = form.cleaned_data["document"]
            try:
                plan = transfer.import_channels(document=document, dry_run=True)
                sealed = crypto.encrypt(settings.FIELD_ENCRYPTION_KEYS, json.dumps(document, ensure_ascii=False))
            except ValidationError as error:
                for message in error.messages:
                    form.add_error(None, message)
        return self._import_page(request, form=form, plan=plan, sealed=sealed)

    def _import(self: Any, request: HttpRequest, sealed: str) -> HttpResponse:
        form = ImportForm()
        try:
            document = json.loads(crypto.decrypt(settings.FIELD_ENCRYPTION_KEYS, sealed))
            plan = transfer.import_channels(document=document)
        except crypto.CannotDecrypt:
            self.message_user(request, "That preview is not ours: choose the file again.", messages.ERROR)
            return self._import_page(request, form=form, plan=None, sealed="")
        except ValidationError as error:
            self.message_user(request, "Nothing was changed. " + " ".join(error.messages), messages.ERROR)
            return self._import_page(request, form=form, plan=None, sealed="")
        said = f"{plan.count('create')} created, {plan.count('change')} changed, {plan.count('keep')} as they were."
        self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(page_url("channels_app.channel", "changelist"))

    def _import_page(self: Any, request: HttpRequest, **context: Any) -> HttpResponse:
        form, plan = context["form"], context["plan"]
        rows = [_shown(channel) for channel in plan.channels] if plan else []
        return self._page(
            request, "admin/channel_import.html", title="Import channels", media=form.media, rows=rows, **context
        )

    def _page(self: Any, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "back": page_url("channels_app.channel", "changelist"),
            **context,
            "media": self.media + context.get("media", forms.Media()),
        }
        return TemplateResponse(request, template, context)


def _with_places(queryset: QuerySet[Channel]) -> QuerySet[Channel]:
    return queryset.order_by("name").prefetch_related("groups", "channel_models__model")


def _shown(planned: transfer.PlannedChannel) -> dict[str, Any]:
    """A channel of a preview, in words; of a new one, only what is not usual."""
    is_new = planned.action == "create"
    usual = {field.name: _words(field.get_default()) for field in Channel._meta.concrete_fields}
    named = ("provider", "status")
    changes = [
        {"name": _label(name), "before": "" if is_new else _words(before), "after": _words(after)}
        for name, (before, after) in planned.changes.items()
        if not is_new or name in named or (after and _words(after) != usual.get(name))
    ]
    return {"name": planned.name, "action": planned.action, "changes": changes, "notes": planned.notes}


def _label(name: str) -> str:
    plain = {"groups": "Groups", "models": "Models", "credentials": "Credentials"}
    if name in plain:
        return plain[name]
    label = str(Channel._meta.get_field(name).verbose_name)
    return label[:1].upper() + label[1:]


def _words(value: Any) -> str:
    """A value of an entry for people: lists by commas, models with their other names."""
    if isinstance(value, dict):
        return ", ".join(f"{name} as {other}" if other else name for name, other in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _download(document: dict[str, Any]) -> HttpResponse:
    """A file of its day. No cache keeps it."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    name = f"channels-{timezone.now():%Y-%m-%d}.json"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return HttpResponse(text, content_type="application/json; charset=utf-8", headers=headers)
