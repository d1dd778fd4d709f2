"""Whether a caller may do an operation: scope, role, and for operators Django's permissions."""

from __future__ import annotations

from typing import Any

from accounts.models import Membership, PersonalAccessToken
from accounts.permissions import PERMISSIONS, allows
from costrouter.api.errors import Refused
from costrouter.api.operations import Operation
from costrouter.sign_in.staff import staff_mfa_missing


def check(operation: Operation, request: Any, member: Membership | None) -> None:
    """Raises Refused where the caller may not do it."""
    token = request.auth if isinstance(request.auth, PersonalAccessToken) else None
    if token is not None and operation.session_only:
        raise Refused("session_needed")
    if token is not None and operation.scope and operation.scope not in token.scopes:
        raise Refused("missing_scope", f"The access token has not the scope {operation.scope}.")
    if operation.permissions:
        _check_operator(operation.permissions, request.user)
    if operation.action is not None:
        check_role(member, operation.action)


def check_role(member: Membership | None, action: str) -> None:
    """Raises Refused where the member's role does not allow an action."""
    if member is None:
        raise Refused("no_organization")
    if not allows(member.role, action):
        needed = PERMISSIONS[action]
        raise Refused("missing_role", f"This needs the role {needed} in the organization; yours is {member.role}.")


def _check_operator(permissions: tuple[str, ...], user: Any) -> None:
    """Django's permissions, as in the admin. A token must not lead around the second factor that a session needs."""
    if not user.is_staff:
        raise Refused("operators_only", "Only operators of this site may do this.")
    if staff_mfa_missing(user):
        raise Refused("mfa_needed")
    for permission in permissions:
        if not user.has_perm(permission):
            raise Refused("operators_only", f"This needs the permission {permission}.")
