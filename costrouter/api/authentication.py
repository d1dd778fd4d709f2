"""Who calls: by personal access token, else by the session that the console uses."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed

from accounts.models import Membership, PersonalAccessToken, User
from accounts.services import access_token_by_secret, touch_access_token
from costrouter.console.access import current_member


class AccessToken(BaseAuthentication):
    """`Authorization: Bearer crt_…`: the token's user, in the token's organization."""

    def authenticate(self, request: Any) -> tuple[User, PersonalAccessToken] | None:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = access_token_by_secret(secret.strip())
        if token is None:
            raise AuthenticationFailed("The access token is unknown or has expired.")
        touch_access_token(token=token)
        return token.user, token

    def authenticate_header(self, request: Any) -> str:
        return 'Bearer realm="api"'


class Session(SessionAuthentication):
    """The console's session, with its CSRF token on whatever changes something."""


def member_of(request: Any) -> Membership | None:
    """The caller's place in the organization that they act in."""
    if isinstance(request.auth, PersonalAccessToken):
        return (
            Membership.objects.filter(user=request.user, organization=request.auth.organization_id)
            .select_related("organization", "user")
            .first()
        )
    return current_member(request)


class AccessTokenScheme(OpenApiAuthenticationExtension):
    """How the schema names it."""

    target_class = AccessToken
    name = "accessToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A personal access token, `crt_…`, made in the console's settings. It acts for you in one "
            "organization, within its scopes.",
        }


class SessionScheme(OpenApiAuthenticationExtension):
    """How the schema names it."""

    target_class = Session
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "The console's session. What changes something needs the CSRF token in `X-CSRFToken`.",
        }
