"""What a member of an organization may do, by role; and the scopes of personal access tokens. Tables that all read."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from accounts.models import Membership

Role = Membership.Role
_RANK = {Role.MEMBER: 0, Role.ADMIN: 1, Role.OWNER: 2}

# THE table: action → the least role that may do it. "own" is what belongs to the member.
PERMISSIONS: dict[str, str] = {
    "overview.view": Role.MEMBER,  # of the organization for admins, of their own keys for members
    "keys.own": Role.MEMBER,
    "keys.all": Role.ADMIN,
    "logs.own": Role.MEMBER,
    "logs.all": Role.ADMIN,
    "models.view": Role.MEMBER,
    "playground.use": Role.MEMBER,
    "balance.view": Role.MEMBER,
    "billing.view": Role.ADMIN,
    "billing.redeem": Role.ADMIN,
    "team.view": Role.MEMBER,
    "team.manage": Role.ADMIN,
    "team.owners": Role.OWNER,  # make somebody an owner, change or remove an owner
    "organization.edit": Role.OWNER,
    "audit.view": Role.ADMIN,
    "tokens.own": Role.MEMBER,
}

# THE table of scopes: what a personal access token may do, at most; its user's role bounds it further.
SCOPES: dict[str, Any] = {
    "usage:read": _("Read the overview, usage logs and spending"),
    "keys:read": _("Read API keys"),
    "keys:write": _("Create, change, rotate and delete API keys"),
    "billing:read": _("Read balance, ledger and statements"),
    "billing:write": _("Redeem codes"),
    "models:read": _("Read models, groups and prices"),
    "team:read": _("Read members, invitations and the audit log"),
    "team:write": _("Invite, change and remove members; change the organization"),
    "operator:read": _("Operators only: read channels, groups, prices, organizations"),
    "operator:write": _("Operators only: change channels, groups, prices, organizations and credits"),
}


def allows(role: str, action: str) -> bool:
    """Whether a role may do an action. Raises KeyError for an action that is not in the table."""
    return _RANK[Role(role)] >= _RANK[Role(PERMISSIONS[action])]
