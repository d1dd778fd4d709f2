"""Which form of ours stands in for which of allauth's. Settings read it, so it imports nothing."""

from __future__ import annotations


def _ours(names: dict[str, str]) -> dict[str, str]:
    return {name: f"costrouter.sign_in.forms.{form}" for name, form in names.items()}


ACCOUNT = _ours(
    {
        "login": "SignInForm",
        "signup": "SignUpForm",
        "add_email": "ChangeEmailForm",
        "change_password": "ChangePasswordForm",
        "set_password": "SetPasswordForm",
        "reset_password": "ResetPasswordForm",
        "reset_password_from_key": "NewPasswordForm",
        "confirm_email_verification_code": "EmailCodeForm",
        "reauthenticate": "ReauthenticateForm",
    }
)
MFA = _ours(
    {
        "authenticate": "SecondFactorForm",
        "reauthenticate": "SecondFactorAgainForm",
        "activate_totp": "ActivateTotpForm",
        "add_webauthn": "AddPasskeyForm",
    }
)
