"""Form fields and widgets of the admin: money in dollars, lists one a line or as tags."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminSelect2MultipleWidget,
    UnfoldAdminTextInputWidget,
)

from costrouter.lib.money import nanos_to_usd, usd_to_nanos


def plain(amount: Decimal) -> str:
    """A decimal without an exponent or trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class DecimalInput(UnfoldAdminTextInputWidget):
    """A text field for a decimal: number fields of browsers round, and spell by locale."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        given = {"inputmode": "decimal", "autocomplete": "off", "spellcheck": "false", **(attrs or {})}
        super().__init__({**given, "class": "cr-money" if "prefix" in given else ""})


class UsdField(forms.DecimalField):
    """An amount typed in dollars with up to nine decimals; its value is whole nano-dollars."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", DecimalInput({"prefix": "$"}))
        super().__init__(max_digits=19, decimal_places=9, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return plain(nanos_to_usd(value)) if isinstance(value, int) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(nanos_to_usd(initial) if isinstance(initial, int) else initial, data)

    def clean(self, value: Any) -> Any:
        amount = super().clean(value)
        if amount is None:
            return None
        try:
            return usd_to_nanos(amount)
        except ValueError as error:
            raise forms.ValidationError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=UnfoldAdminExpandableTextareaWidget(), required=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (initial or []) != self.clean(data)

    def clean(self, value: Any) -> list[str]:
        return [line.strip() for line in (value or "").replace(",", "\n").splitlines() if line.strip()]


class NamesField(forms.MultipleChoiceField):
    """A list of names chosen from those there are; a name that is no longer there stays until it is taken out."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=UnfoldAdminSelect2MultipleWidget(), required=False, **kwargs)

    def offer(self, names: Iterable[str], kept: Iterable[str]) -> None:
        self.choices = [(name, name) for name in dict.fromkeys([*names, *kept])]
