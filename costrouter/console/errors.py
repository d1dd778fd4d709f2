"""What services refuse, shown where people look for it."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest


def refuse(form: forms.BaseForm, error: ValidationError) -> None:
    """Show what a service refused at the form's fields it is about, the rest above them."""
    by_field = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    for name, texts in by_field.items():
        # Django's own validation of the form may have said the same already.
        if not (name in form.errors and set(texts) <= set(form.errors[name])):
            form.add_error(name if name in form.fields else None, list(texts))


def say(request: HttpRequest, error: ValidationError) -> None:
    """Show what a service refused above the next page."""
    for text in error.messages:
        messages.error(request, text)
