"""Your access tokens in the current organization. Only a session manages them: a token cannot make itself another."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from accounts import services
from accounts.models import PersonalAccessToken
from accounts.permissions import SCOPES
from costrouter.api.base import Resource, operation
from costrouter.api.errors import not_found
from costrouter.api.fields import In, MomentIn, Out, Text
from costrouter.api.lists import RowQuery, list_of, newest_first


class Token(Out):
    """An access token. Its secret is told once."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    prefix = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class TokenWithSecret(Out):
    """A token and its secret, which is stored nowhere."""

    secret = serializers.CharField(help_text="`crt_…`: shown this once.")
    token = Token()


class NewToken(In):
    """A token to make."""

    name = Text(max_length=100)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=list(SCOPES)), min_length=1, max_length=len(SCOPES)
    )
    expires_at = MomentIn(allow_null=True, required=False)


class TokenResource(Resource):
    """A path about the caller's tokens in the current organization."""

    tag = "You"

    def rows(self) -> QuerySet[PersonalAccessToken]:
        """Theirs, here."""
        return PersonalAccessToken.objects.filter(user=self.member.user_id, organization=self.member.organization_id)

    def find(self, token_id: int) -> PersonalAccessToken:
        """One of them. Raises Refused."""
        found = self.rows().filter(pk=token_id).first()
        if found is None:
            raise not_found()
        return found


class TokensView(TokenResource):
    """`access-tokens`"""

    @operation(
        "listAccessTokens",
        "List your access tokens",
        action="tokens.own",
        query=RowQuery,
        answer=list_of(Token),
        session_only=True,
    )
    def get(self) -> Any:
        """Those for the current organization, the newest first."""
        return newest_first(self.rows(), self.query)

    @operation(
        "createAccessToken",
        "Create an access token",
        action="tokens.own",
        body=NewToken,
        answer=TokenWithSecret,
        status=201,
        session_only=True,
    )
    def post(self) -> Any:
        """It acts for you in the current organization, within its scopes and your role."""
        token, secret = services.create_access_token(member=self.member, **self.body)
        return {"secret": secret, "token": token}


class TokenView(TokenResource):
    """`access-tokens/{token_id}`"""

    @operation("getAccessToken", "Get an access token", action="tokens.own", answer=Token, session_only=True)
    def get(self, token_id: int) -> Any:
        return self.find(token_id)

    @operation("deleteAccessToken", "Delete an access token", action="tokens.own", session_only=True)
    def delete(self, token_id: int) -> Any:
        """The next request with it is refused."""
        services.delete_access_token(token=self.find(token_id))
