"""The forms of a channel's pages. Credentials go in and never come out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.html import format_html
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from channels_app.models import Channel, ModelGroup, Provider
from costrouter.admin.fields import LinesField
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

    new_models = LinesField(
        label="Models by name",
        help_text="Many at once, one a line: the name that clients send, or NAME = ITS NAME AT THIS UPSTREAM. What the "
        "catalogue does not have is added to it, and refused until it has a price.",
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

    def clean_new_models(self) -> dict[str, str]:
        """Model → its name at the upstream, "" where that is the same."""
        found = {}
        for line in self.cleaned_data["new_models"]:
            name, _, upstream = (part.strip() for part in line.partition("="))
            if not name or len(name) > 150 or len(upstream) > 200:
                raise forms.ValidationError(f"{line[:80]}: not NAME, or NAME = UPSTREAM NAME.")
            found[name] = upstream
        return found

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


class TestForm(forms.Form):
    """Which model to ask."""

    model = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget(), help_text="One short request is sent; the upstream may charge for it."
    )

    def __init__(self, *args: Any, names: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["model"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]
