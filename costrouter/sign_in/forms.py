"""Forms of sign-in that are ours."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import LoginForm, SignupForm
from allauth.core import context
from allauth.mfa.webauthn.forms import AddWebAuthnForm
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from costrouter.sign_in.invited import invited_email


class SignInForm(LoginForm):  # type: ignore[misc]
    """An address and a password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["remember"].label = _("Keep me signed in")
        _no_placeholders(self)


class SignUpForm(SignupForm):  # type: ignore[misc]
    """An address, a name, a password. Where sign-up is closed, the address is the invited one."""

    name = forms.CharField(
        label=_("Name"),
        required=False,
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    field_order = ("email", "name", "password1")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _no_placeholders(self)

    def clean_email(self) -> str:
        email: str = super().clean_email()
        if settings.SIGN_UP == "closed" and email != invited_email(context.request):
            raise ValidationError(_("Sign-up is by invitation. Use the address that was invited."))
        return email

    def try_save(self, request: HttpRequest) -> Any:
        """Save the user. One who was made in the same moment with this address is treated as one who was there."""
        try:
            return super().try_save(request)
        except ValidationError:
            self.account_already_exists = True
            return super().try_save(request)


class AddPasskeyForm(AddWebAuthnForm):  # type: ignore[misc]
    """A passkey: its name, and whether it signs in without the password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].label = _("Name")
        alone = self.fields["passwordless"]
        alone.label, alone.initial = _("Sign in with this passkey alone"), True
        alone.help_text = _("Off: it is asked for after the password. For old security keys without a PIN.")


class NameForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a user is called."""

    class Meta:
        model = User
        fields = ("name",)


def _no_placeholders(form: forms.Form) -> None:
    """Each field has a label; a placeholder that repeats it is noise."""
    for field in form.fields.values():
        field.widget.attrs.pop("placeholder", None)
