"""What allauth asks us: who may sign up, how users are made, where mails go, how secrets are kept, whom to link."""

from __future__ import annotations

import base64
import logging
import secrets
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core import ratelimit
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, _build_apps_from_settings
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from django.conf import settings
from django.db import transaction
from django.http import Http404, HttpRequest
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext

from accounts import audit, services
from accounts.models import User
from costrouter.lib import crypto
from costrouter.middleware import client_ip
from costrouter.sign_in.invited import forget_other_invitation, invited_email
from costrouter.sign_in.links import absolute_url, base_url

log = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Accounts: an e-mail address and a password."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.SIGN_UP == "open" or invited_email(request) is not None

    def save_user(self, request: HttpRequest, user: Any, form: Any, commit: bool = True) -> User:
        """A new user, with their personal organization. The address waits to be verified."""
        given = form.cleaned_data
        forget_other_invitation(request, given["email"])
        return services.create_user(
            email=given["email"], password=given.get("password1"), name=given.get("name", ""), email_verified=False
        )

    def set_password(self, user: Any, password: str) -> None:
        services.set_password(user=user, password=password)

    @transaction.atomic
    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Make a verified address the user's own."""
        before: str = email_address.user.email
        confirmed: bool = super().confirm_email(request, email_address)
        after = User.objects.get(pk=email_address.user_id)
        if after.email != before:
            audit.record("user.changed", after, changes={"email": (before, after.email)})
        return confirmed

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_ip(request)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Of the address alone: allauth's has the request's host in it, which who guesses passwords may choose."""
        return str(credentials.get("email", "")).lower()

    def get_reset_password_from_key_url(self, key: str) -> str:
        return absolute_url(self.request, reverse("account_reset_password_from_key", args=["UID", "KEY"])).replace(
            "UID-KEY", key
        )

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail, or answer with a page that says it could not be sent."""
        try:
            super().send_mail(template_prefix, email, {**context, "site_url": base_url(self.request)})
        except OSError:  # SMTPException is one
            log.exception("mail %s could not be sent", template_prefix)
            # The next try is not one too many.
            ratelimit.clear(self.request, action="confirm_email", key=email.lower())
            ratelimit.clear(self.request, action="reset_password", key=email.lower())
            raise ImmediateHttpResponse(render(self.request, "account/mail_failed.html", status=503)) from None

    def send_notification_mail(self, *args: Any, **kwargs: Any) -> None:
        """Tell a user what happened to their account. It has happened, whether or not the mail goes out."""
        try:
            super().send_notification_mail(*args, **kwargs)
        except ImmediateHttpResponse:
            pass


class MfaAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Second factors, whose secrets are encrypted like upstream credentials."""

    def encrypt(self, text: str) -> str:
        return crypto.encrypt(settings.FIELD_ENCRYPTION_KEYS, text)

    def decrypt(self, encrypted_text: str) -> str:
        """The secret; where no key opens it any more, one that nobody knows, so that no code fits."""
        try:
            return crypto.decrypt(settings.FIELD_ENCRYPTION_KEYS, encrypted_text)
        except crypto.CannotDecrypt:
            log.error("no key in FIELD_ENCRYPTION_KEYS opens a second factor: remove it, and have it set up anew")
            return base64.b32encode(secrets.token_bytes(20)).decode()

    def _get_site_name(self) -> str:
        return settings.MFA_TOTP_ISSUER

    def generate_authenticator_name(self, user: Any, type: Authenticator.Type) -> str:
        number = Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1
        return gettext("Passkey") if number == 1 else gettext("Passkey %(number)s") % {"number": number}


class SocialAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """GitHub and Google. Only an address that the provider and we have both verified signs into an account here."""

    def list_apps(self, request: HttpRequest, provider: str | None = None, client_id: str | None = None) -> list[Any]:
        """From the environment alone; the table of apps is not read."""
        found = _build_apps_from_settings(provider=provider, client_id=client_id)
        return [app for apps in found.values() for app in apps]

    def get_app(self, request: HttpRequest, provider: str, client_id: str | None = None) -> Any:
        apps = self.list_apps(request, provider, client_id)
        if not apps:
            raise Http404(f"Sign-in with {provider} is not configured.")
        return apps[0]

    def authenticate_by_email(self, sociallogin: SocialLogin) -> tuple[Any, str] | None:
        """The account of one of the provider's verified addresses: it has verified it too, or was never entered."""
        for address in verified_addresses(sociallogin):
            email = address.email.lower()
            mine = EmailAddress.objects.filter(email=email, verified=True, primary=True).select_related("user").first()
            if mine is not None:
                return mine.user, email
            user = User.objects.filter(email=email).first()
            if user is not None and never_entered(user):
                return user, email
        return None

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Somebody new needs an address that the provider has verified: that one becomes theirs, and no other.

        Were they let in without, whoever puts in another's address would wait in that other's account for them.
        """
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            return
        if sociallogin.is_existing:
            if sociallogin.account._state.adding and never_entered(sociallogin.user):
                take_over(sociallogin.user)
            return
        verified = verified_addresses(sociallogin)
        invited = invited_email(request)
        if settings.SIGN_UP == "closed":
            verified = [address for address in verified if address.email.lower() == invited]
        if not verified and not (settings.SIGN_UP == "closed" and invited is None):
            context = {"provider": sociallogin.provider, "invited": invited if settings.SIGN_UP == "closed" else None}
            raise ImmediateHttpResponse(render(request, "socialaccount/no_verified_email.html", context, status=403))
        sociallogin.email_addresses = verified[:1]

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: Any) -> User:
        user: Any = super().populate_user(request, sociallogin, data)
        name = data.get("name") or f"{data.get('first_name') or ''} {data.get('last_name') or ''}"
        user.name = name.strip()[:150]
        return user  # type: ignore[no-any-return]

    @transaction.atomic
    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """A new user without a password, with their personal organization and the provider's verified address."""
        [address] = sociallogin.email_addresses
        forget_other_invitation(request, address.email)
        name: str = getattr(sociallogin.user, "name", "")
        user = services.create_user(email=address.email, name=name, email_verified=False)
        sociallogin.user = user
        sociallogin.save(request)
        return user


def never_entered(user: Any) -> bool:
    """Whether nobody can ever have been in this account: its address was never verified."""
    return (
        user.last_login is None
        and not EmailAddress.objects.filter(user=user, verified=True).exists()
        and not SocialAccount.objects.filter(user=user).exists()
        and not Authenticator.objects.filter(user=user).exists()
    )


@transaction.atomic
def take_over(user: Any) -> None:
    """Give an account that nobody entered to whoever a provider says has its address. The password may be another's."""
    services.set_password(user=user, password=None)
    EmailAddress.objects.update_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})


def verified_addresses(sociallogin: SocialLogin) -> list[EmailAddress]:
    """The addresses that the provider says it has verified, its primary one first."""
    return sorted((a for a in sociallogin.email_addresses if a.verified), key=lambda a: not a.primary)
