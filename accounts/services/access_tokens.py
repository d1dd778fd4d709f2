"""Personal access tokens: what programs send to the management API instead of a session."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import Membership, Organization, PersonalAccessToken, User
from accounts.permissions import SCOPES
from costrouter.lib import crypto, ids

MAX_TOKENS = 50
_TOUCHED_EVERY = timedelta(minutes=1)


def scopes_for(user: User) -> dict[str, str]:
    """The scopes that a user may give a token: scope → what it allows. Those of operators are for operators."""
    return {scope: text for scope, text in SCOPES.items() if user.is_staff or not scope.startswith("operator:")}


@transaction.atomic
def create_access_token(
    *, member: Membership, name: str, scopes: Sequence[str], expires_at: datetime | None = None
) -> tuple[PersonalAccessToken, str]:
    """A token that acts for a member in their organization, and its secret, which is shown once.

    Raises ValidationError.
    """
    chosen = [scope for scope in SCOPES if scope in scopes]
    if not chosen:
        raise ValidationError({"scopes": _("Choose what the token may do.")})
    if unknown := sorted(set(scopes) - set(scopes_for(member.user))):
        raise ValidationError({"scopes": _("You may not give: %(scopes)s.") % {"scopes": ", ".join(unknown)}})
    if expires_at is not None and expires_at <= timezone.now():
        raise ValidationError({"expires_at": _("That is in the past.")})
    if member.user.access_tokens.filter(organization=member.organization).count() >= MAX_TOKENS:
        raise ValidationError(_("You have %(count)s tokens here: delete one first.") % {"count": MAX_TOKENS})
    secret = ids.access_token()
    token = PersonalAccessToken(
        user=member.user,
        organization=member.organization,
        name=name.strip(),
        prefix=secret[:12],
        digest=_digest(secret),
        scopes=chosen,
        expires_at=expires_at,
    )
    token.full_clean()
    token.save()
    changes = audit.given_fields(token, "prefix", "scopes", "expires_at")
    audit.record("access_token.created", token, organization=member.organization, name=token.name, changes=changes)
    return token, secret


@transaction.atomic
def delete_access_token(*, token: PersonalAccessToken) -> None:
    """Delete a token: the next request with it is refused."""
    audit.record("access_token.deleted", token, organization=token.organization_id, name=token.name)
    token.delete()


def access_token_by_secret(secret: str) -> PersonalAccessToken | None:
    """The token with this secret, with its user and organization; None where it may not be used (any more).

    That is: unknown or expired; its user switched off or no longer a member; its organization suspended.
    """
    now = timezone.now()
    return (
        PersonalAccessToken.objects.select_related("user", "organization")
        .filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now),
            digest=_digest(secret),
            user__is_active=True,
            organization__status=Organization.Status.ACTIVE,
            organization__memberships__user_id=F("user_id"),
        )
        .first()
    )


def touch_access_token(*, token: PersonalAccessToken) -> None:
    """Remember that a token was used, at most once a minute."""
    now = timezone.now()
    if token.last_used_at is not None and now - token.last_used_at < _TOUCHED_EVERY:
        return
    rows = PersonalAccessToken.objects.filter(pk=token.pk)
    rows.filter(Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - _TOUCHED_EVERY)).update(last_used_at=now)
    token.last_used_at = now


def _digest(secret: str) -> str:
    return crypto.key_digest(settings.KEY_HASH_SECRET, secret)
