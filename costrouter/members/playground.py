"""Keys of the playground: they live for minutes, in the memory of the page that asked for one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import ApiKey, Membership
from accounts.services import create_api_key, delete_api_key
from costrouter.members.offers import model_groups

KEY_LIFE = timedelta(minutes=10)
# Of one member in KEY_LIFE: a page needs one, and a few are made by changing groups and opening tabs.
MOST_KEYS = 30
# Deleted at a time, so that nobody waits for a crowd.
CLEAN_UP = 20
NAME = "Playground"


@dataclass(frozen=True, slots=True)
class PlaygroundKey:
    """A key and its secret, which exists nowhere else."""

    key: ApiKey
    secret: str
    expires_at: datetime


@transaction.atomic
def make_key(*, member: Membership, group: str) -> PlaygroundKey:
    """A key for a member's playground in a group. It counts against their and the organization's budgets.

    Deletes keys of the organization that have expired. Raises ValidationError: not their group, or too many keys.
    """
    now = timezone.now()
    if group not in {known.name for known in model_groups(organization_id=member.organization_id)}:
        raise ValidationError({"group": _("Your organization may not use this group.")})
    if _keys(member).filter(user_id=member.user_id, created_at__gt=now - KEY_LIFE).count() >= MOST_KEYS:
        raise ValidationError(_("Too many playground keys at once. Wait a few minutes and try again."))
    expires_at = now + KEY_LIFE
    key, secret = create_api_key(
        organization=member.organization,
        user=member.user,
        name=NAME,
        group=group,
        expires_at=expires_at,
        purpose=ApiKey.Purpose.PLAYGROUND,
    )
    # After the member was locked, in the order in which removing a member locks.
    for expired in _keys(member).filter(deleted_at__isnull=True, expires_at__lte=now)[:CLEAN_UP]:
        delete_api_key(key=expired)
    return PlaygroundKey(key, secret, expires_at)


def _keys(member: Membership) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(organization_id=member.organization_id, purpose=ApiKey.Purpose.PLAYGROUND)
