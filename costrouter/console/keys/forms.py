"""The forms of the API keys' pages: what a member types, as a `KeySpec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from billing.models import Budget
from billing.reports.arithmetic import plain_decimal
from costrouter.lib.money import nanos_to_usd, usd_to_nanos
from costrouter.members.keys import GroupChoice, KeySpec

NEVER, ON, KEEP = "", "on", "keep"
PRESETS: tuple[tuple[str, Any], ...] = (
    (NEVER, _("Never")),
    ("1", _("In 1 day")),
    ("7", _("In 7 days")),
    ("30", _("In 30 days")),
    ("90", _("In 90 days")),
    ("365", _("In a year")),
    (ON, _("On a date…")),
)
OVERLAPS: tuple[tuple[str, Any], ...] = (
    ("0", _("Stop the old key at once")),
    ("3600", _("Keep it for 1 hour")),
    ("86400", _("Keep it for 1 day")),
    ("259200", _("Keep it for 3 days")),
    ("604800", _("Keep it for 7 days")),
)
# A spec's field → the form's, where they differ.
_FIELDS = {"limit_nanos": "limit"}


class KeyForm(forms.Form):
    """A key that is made or changed. `once`: a token that lets a form be sent only once."""

    name = forms.CharField(
        label=_("Name"), max_length=100, help_text=_("What it is for, such as “Production” or “Notebook”.")
    )
    group = forms.ChoiceField(
        label=_("Model group"), help_text=_("It decides the models, and what their list prices are multiplied by.")
    )
    allowed_models = forms.MultipleChoiceField(
        label=_("Models"), required=False, help_text=_("Choose none to allow every model of the group.")
    )
    expiry = forms.ChoiceField(label=_("Expires"), required=False, choices=PRESETS)
    expires_at = forms.DateTimeField(
        label=_("Date and time (UTC)"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"],
    )
    limit = forms.DecimalField(
        label=_("Spending limit (USD)"),
        required=False,
        decimal_places=9,
        max_digits=19,
        help_text=_("Once it is reached, requests are refused. Empty: no limit."),
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    window = forms.ChoiceField(label=_("Limit is for"), required=False, choices=Budget.Window.choices)
    allowed_ips = forms.CharField(
        label=_("Allowed IP addresses"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=_("Addresses or networks such as 203.0.113.0/24, one a line. Empty: from anywhere."),
    )
    requests_per_minute = forms.IntegerField(label=_("Requests a minute"), required=False, min_value=1)
    tokens_per_minute = forms.IntegerField(label=_("Tokens a minute"), required=False, min_value=1)
    concurrent_requests = forms.IntegerField(label=_("Requests at once"), required=False, min_value=1)
    once = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, groups: Sequence[GroupChoice], before: KeySpec | None = None, **kwargs: Any) -> None:
        self.before = before
        self.groups = list(groups)
        if before is not None:
            kwargs["initial"] = {**_initial(before), **kwargs.get("initial", {})}
        super().__init__(*args, **kwargs)
        names = {group.name: f"{group.name} · ×{plain_decimal(group.rate)}" for group in groups}
        models = {model for group in groups for model in group.models}
        if before is not None:
            names.setdefault(before.group, before.group)
            models |= set(before.allowed_models)
            if before.expires_at is not None:
                keep = _("As it is: %(when)s UTC") % {"when": f"{before.expires_at.astimezone(UTC):%Y-%m-%d %H:%M}"}
                self.fields["expiry"].choices = [(KEEP, keep), *PRESETS]  # type: ignore[attr-defined]
        self.fields["group"].choices = list(names.items())  # type: ignore[attr-defined]
        self.fields["allowed_models"].choices = [(model, model) for model in sorted(models)]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("expiry") == ON and not cleaned.get("expires_at") and "expires_at" not in self.errors:
            self.add_error("expires_at", _("Choose a date and time."))
        limit = cleaned.get("limit")
        if limit is not None:
            try:
                cleaned["limit_nanos"] = usd_to_nanos(limit)
            except ValueError:
                self.add_error("limit", _("Give an amount of at most 2,000,000,000 USD."))
            else:
                if limit <= 0:
                    self.add_error("limit", _("Give an amount above zero, or leave it empty."))
        return cleaned

    def spec(self) -> KeySpec:
        """What a valid form asks for."""
        given = self.cleaned_data
        return KeySpec(
            name=given["name"],
            group=given["group"],
            allowed_models=tuple(given["allowed_models"]),
            allowed_ips=tuple(given["allowed_ips"].replace(",", " ").split()),
            expires_at=self._expires_at(),
            limit_nanos=given.get("limit_nanos"),
            window=given["window"] or Budget.Window.TOTAL,
            requests_per_minute=given["requests_per_minute"],
            tokens_per_minute=given["tokens_per_minute"],
            concurrent_requests=given["concurrent_requests"],
        )

    def refuse(self, error: ValidationError) -> None:
        """Show what a service refused at the fields it is about."""
        by_field: Mapping[str, list[str]] = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        for name, messages in by_field.items():
            field = _FIELDS.get(name, name)
            self.add_error(field if field in self.fields else None, list(messages))

    def model_choices(self) -> list[tuple[str, str, bool]]:
        """(model, the groups that have it, whether it is chosen), for the list with a search."""
        chosen = {str(value) for value in self["allowed_models"].value() or []}
        return [
            (name, " ".join(group.name for group in self.groups if name in group.models), name in chosen)
            for name, _label in self.fields["allowed_models"].choices  # type: ignore[attr-defined]
        ]

    def _expires_at(self) -> datetime | None:
        chosen = self.cleaned_data["expiry"]
        if chosen == KEEP and self.before is not None:
            return self.before.expires_at
        if chosen == ON:
            at: datetime = self.cleaned_data["expires_at"]
            return at
        return timezone.now() + timedelta(days=int(chosen)) if chosen.isdigit() else None


class RotateForm(forms.Form):
    """How long the old secret goes on working."""

    overlap = forms.ChoiceField(
        label=_("The old key"),
        choices=OVERLAPS,
        initial="86400",
        help_text=_("Both keys work until then, so that you can replace it everywhere without an outage."),
    )
    once = forms.CharField(required=False, widget=forms.HiddenInput)

    def overlap_given(self) -> timedelta:
        return timedelta(seconds=int(self.cleaned_data["overlap"]))


def _initial(spec: KeySpec) -> dict[str, Any]:
    limit: Decimal | None = nanos_to_usd(spec.limit_nanos) if spec.limit_nanos is not None else None
    return {
        "name": spec.name,
        "group": spec.group,
        "allowed_models": list(spec.allowed_models),
        "expiry": KEEP if spec.expires_at is not None else NEVER,
        "limit": plain_decimal(limit) if limit is not None else "",
        "window": spec.window,
        "allowed_ips": "\n".join(spec.allowed_ips),
        "requests_per_minute": spec.requests_per_minute,
        "tokens_per_minute": spec.tokens_per_minute,
        "concurrent_requests": spec.concurrent_requests,
    }
