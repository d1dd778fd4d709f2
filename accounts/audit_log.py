"""The audit log as an organization's own people read it: pages of entries, newest first, and who each is by.

What an operator of the site did to the organization is there too, as "operator": who that is concerns the site alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.audit import ACTIONS
from accounts.audit_words import Change, action_text, changes_of
from accounts.models import AuditEntry, Membership, User

PAGE_SIZE = 50
# Entries that a page looks through for those that its filter wants.
LOOKED_THROUGH = 20_000
OPERATOR = "operator"
_OF_OPERATORS = (AuditEntry.Via.ADMIN, AuditEntry.Via.COMMAND)
_OF_THE_SITE = ("channel", "model", "group", "price", "user", "role", "redemption")
# The actions that can concern an organization.
ORGANIZATION_ACTIONS = {
    action: text for action, text in ACTIONS.items() if action.partition(".")[0] not in _OF_THE_SITE
}


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted. `who`: the number of a user, `OPERATOR`, or "" for everybody."""

    action: str = ""
    who: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry in words. `who` is "" for an operator, and for somebody who was not signed in."""

    id: int
    at: datetime
    who: str
    is_operator: bool
    via: str
    client_ip: str
    action: str
    text: str
    object_kind: str
    object_id: str
    object_name: str
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Rows, newest first. `before` asks for the next page, None on the last one.

    `looked_through`: the page ends because so many entries were looked through, not because it is full.
    """

    rows: list[AuditRow]
    before: int | None
    looked_through: bool


def audit_page(
    *, organization_id: int, wanted: AuditFilter | None = None, before: int | None = None, size: int | None = None
) -> AuditPage:
    """A page of an organization's entries, those before the entry of that number. Six queries at most."""
    size = size or PAGE_SIZE
    rows = AuditEntry.objects.filter(organization_id=organization_id).order_by("-id")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    members = set(Membership.objects.filter(organization_id=organization_id).values_list("user_id", flat=True))
    floor: int | None = None
    if wanted is not None and wanted != AuditFilter():
        floor = rows.values_list("pk", flat=True)[LOOKED_THROUGH : LOOKED_THROUGH + 1].first()
        rows = rows if floor is None else rows.filter(pk__gt=floor)
        rows = _filtered(rows, wanted, members)
    found = list(rows[: size + 1])
    page = found[:size]
    staff = set(User.objects.filter(pk__in={row.actor_id for row in page}, is_staff=True).values_list("pk", flat=True))
    shown = [_row(entry, members, staff) for entry in page]
    if len(found) > size:
        return AuditPage(shown, page[-1].pk, looked_through=False)
    return AuditPage(shown, None if floor is None else floor + 1, looked_through=floor is not None)


def actors(*, organization_id: int) -> list[tuple[int, str]]:
    """(number, e-mail) of the organization's members, who may have done something."""
    rows = Membership.objects.filter(organization_id=organization_id).order_by("user__email")
    return list(rows.values_list("user_id", "user__email"))


def _filtered(rows: QuerySet[AuditEntry], wanted: AuditFilter, members: set[int]) -> QuerySet[AuditEntry]:
    if wanted.action:
        rows = rows.filter(action=wanted.action)
    if wanted.since is not None:
        rows = rows.filter(at__gte=wanted.since)
    if wanted.who == OPERATOR:
        staff = User.objects.filter(is_staff=True).exclude(pk__in=members).values("pk")
        rows = rows.filter(Q(via__in=_OF_OPERATORS) | Q(actor__in=staff))
    elif wanted.who:
        number = int(wanted.who) if wanted.who.isdecimal() and len(wanted.who) < 19 else 0
        # An operator who is a member too does operators' work as one.
        rows = rows.filter(actor=number).exclude(via__in=_OF_OPERATORS) if number in members else rows.none()
    return rows


def _row(entry: AuditEntry, members: set[int], staff: set[int]) -> AuditRow:
    is_operator = entry.via in _OF_OPERATORS or (entry.actor_id in staff and entry.actor_id not in members)
    return AuditRow(
        id=entry.pk,
        at=entry.at,
        who="" if is_operator else entry.actor_name,
        is_operator=is_operator,
        via="" if is_operator else str(entry.get_via_display()),
        client_ip="" if is_operator else entry.client_ip,
        action=entry.action,
        text=action_text(entry.action),
        object_kind=entry.object_kind,
        object_id=entry.object_id,
        object_name=entry.object_name,
        changes=changes_of(entry),
    )
