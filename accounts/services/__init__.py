"""Writes of the accounts app. Each runs in one transaction, numbers what the relay must notice, and is audited."""

from accounts.services.access_tokens import (
    access_token_by_secret,
    create_access_token,
    delete_access_token,
    touch_access_token,
)
from accounts.services.api_keys import (
    MAX_OVERLAP,
    create_api_key,
    delete_api_key,
    rotate_api_key,
    save_api_key,
    set_api_keys_enabled,
)
from accounts.services.invitations import (
    INVITATION_LIFE,
    accept_invitation,
    invite,
    open_invitation,
    withdraw_invitation,
)
from accounts.services.members import change_members, change_role, leave, remove_member
from accounts.services.organizations import (
    create_organization,
    rename_organization,
    save_organization,
    set_organizations_status,
)
from accounts.services.users import (
    create_user,
    delete_role,
    remove_second_factors,
    rename_user,
    save_role,
    save_user,
    set_password,
)

__all__ = [
    "INVITATION_LIFE",
    "MAX_OVERLAP",
    "accept_invitation",
    "access_token_by_secret",
    "change_members",
    "change_role",
    "create_access_token",
    "create_api_key",
    "create_organization",
    "create_user",
    "delete_access_token",
    "delete_api_key",
    "delete_role",
    "invite",
    "leave",
    "open_invitation",
    "remove_member",
    "remove_second_factors",
    "rename_organization",
    "rename_user",
    "rotate_api_key",
    "save_api_key",
    "save_organization",
    "save_role",
    "save_user",
    "set_api_keys_enabled",
    "set_organizations_status",
    "set_password",
    "touch_access_token",
    "withdraw_invitation",
]
