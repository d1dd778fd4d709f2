"""`STAFF_MFA`: operators do nothing in the admin before they have an authenticator app or a passkey."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser, Permission
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import AuditEntry, User
from accounts.services import create_user
from costrouter.sign_in.staff import staff_mfa_missing

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


@pytest.fixture
def operator(settings: Any) -> User:
    settings.STAFF_MFA = True
    return create_user(email="operator@example.com", password="correct horse", is_staff=True, is_superuser=True)


@pytest.fixture
def inside(visitor: Client, operator: User) -> Client:
    visitor.post("/accounts/login/", {"login": "operator@example.com", "password": "correct horse"})
    return visitor


def passkey(user: User) -> Authenticator:
    return Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data={})


def test_operator_is_sent_to_set_one_up(inside: Client, operator: User) -> None:
    bob = create_user(email="bob@example.com")
    for path in ("/admin/", "/admin/accounts/user/", "/admin/nowhere/", "/admin/login/"):
        answer = inside.get(path)
        assert (answer.status_code, answer.url) == (302, "/accounts/2fa/"), path
    assert "Operators need an authenticator app or a passkey" in inside.get("/accounts/2fa/").content.decode()

    # What was posted is not done.
    answer = inside.post(f"/admin/accounts/user/{bob.pk}/change/", {"email": "bob@example.com", "name": "Robert"})
    assert answer.url == "/accounts/2fa/"
    bob.refresh_from_db()
    assert bob.name == ""

    # Everything else is as it was, and so is the way out.
    assert inside.get("/accounts/profile/").status_code == 200
    inside.post("/admin/logout/")
    assert not get_user(inside).is_authenticated  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", ["totp", "passkey"])
def test_operator_with_a_second_factor_gets_in(inside: Client, operator: User, factor: str) -> None:
    if factor == "totp":
        TOTP.activate(operator, generate_totp_secret())
    else:
        passkey(operator)
    assert inside.get("/admin/accounts/user/").status_code == 200


def test_recovery_codes_alone_are_no_second_factor(inside: Client, operator: User) -> None:
    RecoveryCodes.activate(operator)
    assert inside.get("/admin/").url == "/accounts/2fa/"


def test_who_loses_the_second_factor_is_out_again(inside: Client, operator: User) -> None:
    key = passkey(operator)
    assert inside.get("/admin/accounts/user/").status_code == 200
    key.delete()
    assert inside.get("/admin/accounts/user/").url == "/accounts/2fa/"


def test_it_is_a_setting(inside: Client, settings: Any) -> None:
    settings.STAFF_MFA = False
    assert inside.get("/admin/accounts/user/").status_code == 200


def test_whom_it_concerns(operator: User, settings: Any) -> None:
    bob = create_user(email="bob@example.com")
    assert [staff_mfa_missing(user) for user in (operator, bob, AnonymousUser())] == [True, False, False]
    passkey(operator)
    assert not staff_mfa_missing(operator)
    settings.STAFF_MFA = False
    Authenticator.objects.all().delete()
    assert not staff_mfa_missing(operator)


# Who lost everything


def test_operators_remove_second_factors_of_people_they_may_edit(visitor: Client) -> None:
    boss = create_user(email="boss@example.com", is_staff=True, is_superuser=True)
    colleague = create_user(email="colleague@example.com", is_staff=True)
    colleague.user_permissions.set(Permission.objects.filter(codename__in=("change_user", "view_user")))
    bob = create_user(email="bob@example.com")
    for user in (boss, colleague, bob):
        passkey(user)
        RecoveryCodes.activate(user)
    everyone = {"_selected_action": [boss.pk, colleague.pk, bob.pk], "action": "remove_second_factors", "index": 0}

    visitor.force_login(colleague)
    visitor.post("/admin/accounts/user/", everyone)
    assert set(Authenticator.objects.values_list("user__email", flat=True)) == {
        "boss@example.com",
        "colleague@example.com",
    }
    entry = AuditEntry.objects.get(action="user.changed")
    assert (entry.object_id, entry.actor_name) == (str(bob.pk), "colleague@example.com")
    assert entry.changes == {"second factors": ["set", "none"]}

    visitor.force_login(boss)
    visitor.post("/admin/accounts/user/", everyone)
    assert set(Authenticator.objects.values_list("user__email", flat=True)) == {"boss@example.com"}


def test_command_for_the_last_operator(operator: User) -> None:
    passkey(operator)

    def run(email: str) -> str:
        out = StringIO()
        call_command("remove_second_factors", email, stdout=out)
        return out.getvalue().strip()

    assert run("Operator@example.com") == "removed"
    assert not Authenticator.objects.exists()
    assert run("operator@example.com") == "there was none"
    with pytest.raises(CommandError, match=r"Nobody has the address nobody@example\.com"):
        run("nobody@example.com")
