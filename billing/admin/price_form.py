"""The form of a new price: a decimal field a unit, made from the table of units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelect2Widget, UnfoldAdminTextInputWidget

from billing.models import Price
from costrouter.admin.base import lookup
from costrouter.admin.fields import DecimalInput, plain
from costrouter.lib.units import UNITS, per_text

TIERS = ("standard", "flex", "priority", "fast", "batch")
COMMON = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")


class PriceField(forms.DecimalField):
    """What one unit costs, in dollars. Empty: its parent's price, or none."""

    def __init__(self, unit: str) -> None:
        parent = UNITS[unit].parent
        super().__init__(
            label=UNITS[unit].label,
            required=False,
            min_value=0,
            max_value=1_000_000,
            decimal_places=12,
            max_digits=19,
            widget=DecimalInput({"prefix": "$", "suffix": per_text(unit)}),
            help_text=f"Empty: as {UNITS[parent].label.lower()}." if parent else "",
        )


_Fields: Any = type(forms.ModelForm)(
    "_Fields",
    (forms.ModelForm,),
    {f"{part}_{name}": PriceField(name) for part in ("price", "long") for name in UNITS},
)


class PriceForm(_Fields):
    """A new price. Prices are appended, never changed."""

    model_name = forms.ChoiceField(
        label="Model", widget=UnfoldAdminSelect2Widget(), help_text="A model of the catalogue."
    )
    tier = forms.RegexField(
        r"^[a-z0-9][a-z0-9. _-]*\Z",
        max_length=Price._meta.get_field("tier").max_length,
        initial=Price.STANDARD,
        widget=UnfoldAdminTextInputWidget(),
        help_text=Price._meta.get_field("tier").help_text,
        error_messages={"invalid": "Small letters and digits, as in: standard, flex, hd 1024x1792."},
    )

    class Meta:
        model = Price
        fields = ("model_name", "tier", "long_context_above", "effective_from", "note")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = lookup("model_names")
        asked = self.initial.get("model_name")
        self.fields["model_name"].choices = [
            ("", "Choose a model"),
            *((name, name) for name in dict.fromkeys([*names, *filter(None, [asked])])),
        ]
        self.fields["long_context_above"].label = "Above this many input tokens"
        # Empty means now, decided when the price is written.
        self.initial.setdefault("effective_from", None)
        self.fields["effective_from"].required = False
        self.fields["effective_from"].help_text = "UTC. Empty: from now on. Requests already running keep their price."

    def clean(self) -> Any:
        cleaned = super().clean()
        if not self.units("price") and not self.errors:
            self.add_error(None, "Give at least one price.")
        long = self.units("long")
        if long and self.cleaned_data.get("long_context_above") is None:
            self.add_error("long_context_above", "Say above how many input tokens the long-context prices apply.")
        if not long and self.cleaned_data.get("long_context_above") is not None:
            self.add_error("long_context_above", "Give the long-context prices too, or leave this empty.")
        return cleaned

    def units(self, part: str) -> dict[str, str]:
        """The prices of one part ("price" or "long") as they are stored."""
        given = {name: self.cleaned_data.get(f"{part}_{name}") for name in UNITS}
        return {name: plain(value) for name, value in given.items() if value is not None}


def initial_from(price: Price) -> dict[str, Any]:
    """The form's initial values for a copy of a price."""

    def part(prefix: str, units: Mapping[str, str]) -> dict[str, str]:
        return {f"{prefix}_{name}": value for name, value in units.items() if name in UNITS}

    return {
        "model_name": price.model_name,
        "tier": price.tier,
        "long_context_above": price.long_context_above,
        "note": price.note,
        **part("price", price.units),
        **part("long", price.long_context_units),
    }
