"""Team: who is in the organization, and what they may do; invitations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.views.decorators.http import require_http_methods, require_POST

from accounts import services
from accounts.models import ApiKey, Invitation, Membership
from accounts.permissions import allows
from accounts.selectors import Reach
from accounts.services.members import may_invite
from billing.reports import usage
from billing.reports.rows import month_of
from costrouter.console.access import ConsoleRequest, console_page
from costrouter.console.errors import refuse, say
from costrouter.sign_in.links import base_url

PAGE_SIZE = 50
Role = Membership.Role
# What each role is for, least first.
ROLES: dict[str, tuple[Any, Any]] = {
    Role.MEMBER: (lazy("Member"), lazy("uses keys of their own and sees their own requests")),
    Role.ADMIN: (lazy("Admin"), lazy("sees and manages everyone's keys, requests, bills and members")),
    Role.OWNER: (lazy("Owner"), lazy("an admin who may also rename the organization and manage owners")),
}


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member. `spent_nanos`: this month, None where the reader may not know; `roles`: what they may be made."""

    member: Membership
    keys: int
    spent_nanos: int | None
    roles: tuple[tuple[str, Any], ...]
    is_you: bool


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """An invitation that nobody has accepted."""

    invitation: Invitation
    is_over: bool
    may_withdraw: bool


class InviteForm(forms.Form):
    """Whom to invite, and as what."""

    email = forms.EmailField(
        label=lazy("E-mail"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "off"})
    )
    role = forms.ChoiceField(label=lazy("Role"))

    def __init__(self, *args: Any, member: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = _roles(member)  # type: ignore[attr-defined]


@console_page("team.view")
@require_http_methods(["GET", "HEAD"])
def index(request: ConsoleRequest) -> HttpResponse:
    return _page(request, InviteForm(member=request.member))


@console_page("team.manage")
@require_POST
def invite(request: ConsoleRequest) -> HttpResponse:
    """Send somebody an invitation."""
    form = InviteForm(request.POST, member=request.member)
    if form.is_valid():
        try:
            services.invite(member=request.member, site_url=base_url(request), **form.cleaned_data)
        except ValidationError as error:
            refuse(form, error)
        else:
            messages.success(request, _("An invitation is on its way to %(email)s.") % form.cleaned_data)
            return redirect("console:team")
    return _page(request, form, status=422)


@console_page("team.manage")
@require_POST
def withdraw(request: ConsoleRequest, invitation_id: int) -> HttpResponse:
    """Take an invitation back. Raises Http404 for another organization's."""
    rows = Invitation.objects.filter(organization=request.member.organization, accepted_at__isnull=True)
    invitation = rows.filter(pk=invitation_id).first()
    if invitation is None:
        raise Http404
    try:
        services.withdraw_invitation(member=request.member, invitation=invitation)
    except ValidationError as error:
        say(request, error)
    else:
        messages.success(request, _("The invitation to %(email)s is withdrawn.") % {"email": invitation.email})
    return redirect("console:team")


@console_page("team.manage")
@require_POST
def change_role(request: ConsoleRequest, member_id: int) -> HttpResponse:
    """Give a member another role. Raises Http404 for another organization's."""
    target = _member(request, member_id)
    try:
        changed = services.change_role(actor=request.member, target=target, role=request.POST.get("role", ""))
    except ValidationError as error:
        say(request, error)
    else:
        words = {"who": changed.user.email, "role": ROLES[changed.role][0].lower()}
        messages.success(request, _("%(who)s is now %(role)s.") % words)
    return redirect("console:team")


@console_page("team.manage")
@require_POST
def remove(request: ConsoleRequest, member_id: int) -> HttpResponse:
    """Take a member out. Raises Http404 for another organization's."""
    target = _member(request, member_id)
    try:
        services.remove_member(actor=request.member, target=target)
    except ValidationError as error:
        say(request, error)
    else:
        messages.success(request, _("%(who)s is no longer a member.") % {"who": target.user.email})
    return redirect("console:team")


def _member(request: ConsoleRequest, member_id: int) -> Membership:
    rows = Membership.objects.filter(organization=request.member.organization).select_related("user", "organization")
    found = rows.filter(pk=member_id).first()
    if found is None:
        raise Http404
    return found


def _roles(actor: Membership) -> list[tuple[str, Any]]:
    """The roles that a member may give."""
    return [(role, title) for role, (title, _text) in ROLES.items() if may_invite(actor.role, role)]


def _page(request: ConsoleRequest, form: InviteForm, *, status: int = 200) -> HttpResponse:
    member, now = request.member, timezone.now()
    may_manage = allows(member.role, "team.manage")
    rows = Membership.objects.filter(organization=member.organization).select_related("user")
    page = Paginator(rows.order_by("user__email"), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "page": page,
        "rows": _member_rows(member, list(page.object_list), now),
        "roles": ROLES.values(),
        "may_manage": may_manage,
        "shows_spending": allows(member.role, "billing.view"),
        "invitations": _invitation_rows(member, now) if may_manage else [],
        "mail_is_off": settings.EMAIL_BACKEND.endswith("console.EmailBackend"),
    }
    return render(request, "console/team.html", context, status=status)


def _member_rows(actor: Membership, members: list[Membership], now: datetime) -> list[MemberRow]:
    users = [row.user_id for row in members]
    keys = ApiKey.objects.filter(
        organization=actor.organization, user__in=users, deleted_at__isnull=True, purpose=ApiKey.Purpose.API
    )
    counts = dict(keys.order_by().values_list("user_id").annotate(Count("pk")))
    spent: dict[int | None, int] | None = None
    if allows(actor.role, "billing.view"):
        month = usage.by_member(Reach(actor.organization_id, None), month_of(now.date()))
        spent = {row.user_id: row.totals.cost_nanos for row in month}
    roles = tuple(_roles(actor))
    return [
        MemberRow(
            member=row,
            keys=counts.get(row.user_id, 0),
            spent_nanos=None if spent is None else spent.get(row.user_id, 0),
            roles=roles if may_invite(actor.role, row.role) else (),
            is_you=row.pk == actor.pk,
        )
        for row in members
    ]


def _invitation_rows(actor: Membership, now: datetime) -> list[InvitationRow]:
    rows = Invitation.objects.filter(organization=actor.organization, accepted_at__isnull=True)
    return [
        InvitationRow(row, is_over=row.expires_at <= now, may_withdraw=may_invite(actor.role, row.role))
        for row in rows.select_related("invited_by")[:100]
    ]
