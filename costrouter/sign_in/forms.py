"""Forms of sign-in: allauth's, in our words; `form_table` says which is which."""

from __future__ import annotations

from typing import Any

from allauth.account import forms as account
from allauth.core import context
from allauth.mfa.base import forms as mfa
from allauth.mfa.totp import forms as totp
from allauth.mfa.webauthn import forms as webauthn
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from costrouter.sign_in.invited import invited_email


class OurWords:
    """Labels of ours; no placeholders, which would only repeat them."""

    labels: dict[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, forms.Field] = self.fields  # type: ignore[attr-defined]
        for name, field in fields.items():
            field.widget.attrs.pop("placeholder", None)
            field.label = self.labels.get(name, field.label)


class SignInForm(OurWords, account.LoginForm):  # type: ignore[misc]
    labels = {"login": _("E-mail"), "password": _("Password"), "remember": _("Keep me signed in")}


class SignUpForm(OurWords, account.SignupForm):  # type: ignore[misc]
    """An address, a name, a password. Where sign-up is closed, the address is the invited one."""

    name = forms.CharField(required=False, max_length=150, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    field_order = ("email", "name", "password1")
    labels = {"email": _("E-mail"), "name": _("Name"), "password1": _("Password")}

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


class ChangeEmailForm(OurWords, account.AddEmailForm):  # type: ignore[misc]
    labels = {"email": _("New address")}


class ChangePasswordForm(OurWords, account.ChangePasswordForm):  # type: ignore[misc]
    labels = {
        "oldpassword": _("Current password"),
        "password1": _("New password"),
        "password2": _("The new one once more"),
    }


class SetPasswordForm(OurWords, account.SetPasswordForm):  # type: ignore[misc]
    labels = {"password1": _("Password"), "password2": _("Once more")}


class ResetPasswordForm(OurWords, account.ResetPasswordForm):  # type: ignore[misc]
    labels = {"email": _("E-mail")}


class NewPasswordForm(OurWords, account.ResetPasswordKeyForm):  # type: ignore[misc]
    labels = {"password1": _("New password"), "password2": _("Once more")}


class EmailCodeForm(OurWords, account.ConfirmEmailVerificationCodeForm):  # type: ignore[misc]
    labels = {"code": _("Code")}


class ReauthenticateForm(OurWords, account.ReauthenticateForm):  # type: ignore[misc]
    labels = {"password": _("Password")}


class SecondFactorForm(OurWords, mfa.AuthenticateForm):  # type: ignore[misc]
    labels = {"code": _("Code")}


class SecondFactorAgainForm(OurWords, mfa.ReauthenticateForm):  # type: ignore[misc]
    labels = {"code": _("Code of your app, or a recovery code")}


class ActivateTotpForm(OurWords, totp.ActivateTOTPForm):  # type: ignore[misc]
    labels = {"code": _("Code")}


class AddPasskeyForm(OurWords, webauthn.AddWebAuthnForm):  # type: ignore[misc]
    """A passkey: its name, and whether it signs in without the password."""

    labels = {"name": _("Name"), "passwordless": _("Sign in with this passkey alone")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        alone = self.fields["passwordless"]
        alone.initial = True
        alone.help_text = _("Off: it is asked for after the password. For old security keys without a PIN.")


class NameForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a user is called."""

    class Meta:
        model = User
        fields = ("name",)
