"""Whether an operator still has to set up a second factor, where `STAFF_MFA` asks for one."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings

# Recovery codes alone are no second factor: they come with one of these.
FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def has_second_factor(user: Any) -> bool:
    """Whether the user has an authenticator app or a passkey."""
    return bool(Authenticator.objects.filter(user_id=user.pk, type__in=FACTORS).exists())


def staff_mfa_missing(user: Any) -> bool:
    """Whether this is an operator who must set up a second factor before they may do an operator's work."""
    return bool(settings.STAFF_MFA and user.is_authenticated and user.is_staff and not has_second_factor(user))
