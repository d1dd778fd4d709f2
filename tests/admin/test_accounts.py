"""Users, organizations and keys through the admin's forms."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.changes import current_version
from accounts.models import ApiKey, ConfigChange, Membership, Organization, User
from accounts.services import create_user
from costrouter.lib.crypto import key_digest
from tests.cast.admin import acme, operator, staff

pytestmark = pytest.mark.django_db
KEYS = "/admin/accounts/apikey/"


def key_form(cast: object, **given: object) -> dict[str, object]:
    return {
        "organization": cast.organization.pk,  # type: ignore[attr-defined]
        "user": cast.alice.pk,  # type: ignore[attr-defined]
        "name": "ci",
        "group": "default",
        "allowed_ips": "",
        "expires_at_0": "",
        "expires_at_1": "",
        **given,
    }


def test_a_new_keys_secret_is_shown_once_and_stored_only_as_a_digest() -> None:
    client = operator()
    cast = acme()

    created = client.post(
        f"{KEYS}add/", key_form(cast, allowed_models=["gpt-small"], allowed_ips="203.0.113.7\n10.0.0.0/8")
    )

    secret = created.context["secret"]
    key = ApiKey.objects.get(name="ci")
    assert created.status_code == 200
    assert "no-store" in created.headers["Cache-Control"]
    assert created.content.decode().count(secret) == 1
    assert key.digest == key_digest(settings.KEY_HASH_SECRET, secret)
    assert (key.allowed_models, key.allowed_ips) == (["gpt-small"], ["203.0.113.7", "10.0.0.0/8"])
    assert secret not in str(list(ApiKey.objects.values()))
    assert secret not in str(dict(client.session))
    for url in (KEYS, f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/history/"):
        assert secret not in client.get(url).content.decode()


def test_a_service_error_is_shown_in_the_form_and_nothing_is_made() -> None:
    client = operator()
    cast = acme()
    stranger = create_user(email="bob@example.com")
    before = current_version()

    not_a_member = client.post(f"{KEYS}add/", key_form(cast, user=stranger.pk))
    not_an_address = client.post(f"{KEYS}add/", key_form(cast, allowed_ips="nowhere"))

    assert not_a_member.context["adminform"].form.errors["user"] == ["this user is not a member of the organization"]
    assert "allowed_ips" in not_an_address.context["adminform"].form.errors
    assert not ApiKey.objects.filter(name="ci").exists()
    assert current_version() == before


def test_keys_are_revoked_enabled_and_deleted_and_the_relay_is_told() -> None:
    client = operator()
    cast = acme()
    choice = {"_selected_action": [cast.key.pk], "index": 0}

    client.post(KEYS, {**choice, "action": "revoke"})
    revoked = ApiKey.objects.get(pk=cast.key.pk).enabled
    client.post(KEYS, {**choice, "action": "enable"})
    enabled = ApiKey.objects.get(pk=cast.key.pk).enabled
    client.post(KEYS, {**choice, "action": "delete_selected", "post": "yes"})

    assert (revoked, enabled) == (False, True)
    deleted = ApiKey.objects.get(pk=cast.key.pk)
    assert deleted.deleted_at is not None
    assert deleted not in client.get(KEYS).context["cl"].result_list
    told = ConfigChange.objects.filter(kind="api_key", object_id=str(cast.key.pk)).count()
    assert told == 4  # made, revoked, enabled, deleted


def test_staff_who_may_only_view_keys_cannot_change_them() -> None:
    cast = acme()
    client = staff("accounts.view_apikey")

    answers = [
        client.post(KEYS, {"_selected_action": [cast.key.pk], "index": 0, "action": "revoke"}).status_code,
        client.post(f"{KEYS}add/", key_form(cast)).status_code,
        client.post(f"{KEYS}{cast.key.pk}/change/", key_form(cast, name="stolen")).status_code,
        client.post(f"{KEYS}{cast.key.pk}/delete/", {"post": "yes"}).status_code,
    ]

    assert answers[1:] == [403, 403, 403]
    key = ApiKey.objects.get(pk=cast.key.pk)
    assert (key.enabled, key.name, ApiKey.objects.count()) == (True, "laptop", 1)


def test_a_new_user_gets_a_personal_organization_and_can_sign_in() -> None:
    client = operator()

    client.post(
        "/admin/accounts/user/add/",
        {
            "email": "New@Example.com",
            "name": "Nia",
            "usable_password": "true",
            "password1": "correct-horse-9",
            "password2": "correct-horse-9",
        },
    )

    user = User.objects.get(email="new@example.com")
    assert user.check_password("correct-horse-9")
    assert [m.organization.is_personal for m in user.memberships.all()] == [True]
    assert (user.is_staff, user.is_superuser) == (False, False)


def test_the_same_address_twice_is_a_form_error() -> None:
    client = operator()
    create_user(email="alice@example.com")

    answer = client.post(
        "/admin/accounts/user/add/",
        {"email": "ALICE@example.com", "usable_password": "false", "password1": "", "password2": ""},
    )

    assert "email" in answer.context["adminform"].form.errors
    assert User.objects.filter(email__iexact="alice@example.com").count() == 1


def test_switching_a_user_off_is_numbered_for_the_relay() -> None:
    client = operator()
    user = create_user(email="alice@example.com")
    before = current_version()

    answer = client.post(f"/admin/accounts/user/{user.pk}/change/", {"email": user.email, "name": "A"})

    assert answer.status_code == 302
    assert User.objects.get(pk=user.pk).is_active is False
    assert current_version() == before + 1
    assert ConfigChange.objects.get(number=before + 1).kind == "user"


def test_staff_cannot_make_anyone_an_operator_nor_touch_a_superuser() -> None:
    superuser = User.objects.create_superuser("root@example.com", "a-long-password")
    alice = create_user(email="alice@example.com")
    client = staff("accounts.view_user", "accounts.change_user", "accounts.add_user")
    me = User.objects.get(email="staff@example.com")
    grab = {"is_active": "on", "is_staff": "on", "is_superuser": "on"}

    client.post(f"/admin/accounts/user/{alice.pk}/change/", {"email": alice.email, **grab})
    client.post(f"/admin/accounts/user/{me.pk}/change/", {"email": me.email, **grab})
    change = client.post(f"/admin/accounts/user/{superuser.pk}/change/", {"email": "mine@example.com"})
    password = client.post(
        f"/admin/accounts/user/{superuser.pk}/password/", {"password1": "stolen-pass-1", "password2": "stolen-pass-1"}
    )

    assert list(User.objects.filter(is_superuser=True)) == [superuser]
    assert not User.objects.get(pk=alice.pk).is_staff
    assert (change.status_code, password.status_code) == (403, 403)
    superuser.refresh_from_db()
    assert superuser.email == "root@example.com"
    assert superuser.check_password("a-long-password")


def test_staff_do_not_widen_their_own_role() -> None:
    client = staff("auth.view_group", "auth.change_group", "auth.add_group", "auth.delete_group")
    role = Group.objects.create(name="Support")
    User.objects.get(email="staff@example.com").groups.add(role)
    everything = {"name": "Support", "permissions": list(Permission.objects.values_list("pk", flat=True))}

    seen = client.get(f"/admin/auth/group/{role.pk}/change/")
    refused = [
        client.post(f"/admin/auth/group/{path}", everything).status_code
        for path in (f"{role.pk}/change/", "add/", f"{role.pk}/delete/")
    ]

    assert seen.status_code == 200
    assert refused == [403, 403, 403]
    assert not role.permissions.exists()


def test_a_superuser_gives_operator_rights() -> None:
    client = operator()
    alice = create_user(email="alice@example.com")
    role = Group.objects.create(name="Support")
    permission = Permission.objects.get(codename="change_wallet")

    client.post(
        f"/admin/accounts/user/{alice.pk}/change/",
        {
            "email": alice.email,
            "is_active": "on",
            "is_staff": "on",
            "groups": [role.pk],
            "user_permissions": [permission.pk],
        },
    )

    alice.refresh_from_db()
    assert alice.is_staff
    assert list(alice.groups.all()) == [role]
    assert alice.has_perm("billing.change_wallet")


def members_form(cast: object, rows: list[dict[str, object]], initial: int) -> dict[str, object]:
    form: dict[str, object] = {
        "name": "Acme",
        "status": "active",
        "memberships-TOTAL_FORMS": len(rows),
        "memberships-INITIAL_FORMS": initial,
    }
    for number, row in enumerate(rows):
        form |= {f"memberships-{number}-{name}": value for name, value in row.items()}
        form[f"memberships-{number}-organization"] = cast.organization.pk  # type: ignore[attr-defined]
    return form


def test_a_removed_member_loses_their_keys_and_an_owner_must_stay() -> None:
    client = operator()
    cast = acme()
    bob = create_user(email="bob@example.com")
    alices = Membership.objects.get(organization=cast.organization)
    url = f"/admin/accounts/organization/{cast.organization.pk}/change/"
    gone = {"id": alices.pk, "user": cast.alice.pk, "role": "owner", "DELETE": "on"}

    without_owner = client.post(url, members_form(cast, [gone], 1))
    still = ApiKey.objects.get(pk=cast.key.pk).enabled
    replaced = client.post(url, members_form(cast, [gone, {"user": bob.pk, "role": "owner"}], 1))

    assert without_owner.context["adminform"].form.non_field_errors() == ["An organization needs an owner."]
    assert still
    assert replaced.status_code == 302
    assert list(cast.organization.memberships.values_list("user", "role")) == [(bob.pk, "owner")]
    assert ApiKey.objects.get(pk=cast.key.pk).enabled is False


def test_suspending_and_activating_organizations_is_numbered_for_the_relay() -> None:
    client = operator()
    cast = acme()
    before = current_version()

    for number, (action, status) in enumerate((("suspend", "suspended"), ("activate", "active")), start=1):
        client.post(
            "/admin/accounts/organization/", {"_selected_action": [cast.organization.pk], "action": action, "index": 0}
        )

        assert Organization.objects.get(pk=cast.organization.pk).status == status
        assert current_version() == before + number


def test_an_organizations_page_costs_no_query_a_member_and_whose_a_membership_is_stays() -> None:
    client, cast = operator(), acme()
    for number in range(30):
        user = create_user(email=f"{number}@example.com")
        Membership.objects.create(user=user, organization=cast.organization, role="member")
    stranger = create_user(email="stranger@example.com")
    url = f"/admin/accounts/organization/{cast.organization.pk}/change/"
    client.get(url)

    with CaptureQueriesContext(connection) as queries:
        page = client.get(url)

    assert len(queries) <= 20
    assert "29@example.com" in page.content.decode()
    members = cast.organization.memberships.order_by("pk")
    rows = [{"id": row.pk, "user": stranger.pk, "role": row.role} for row in members]
    before = list(members.values_list("user", flat=True))
    assert client.post(url, members_form(cast, rows, len(rows))).status_code == 302
    assert list(members.values_list("user", flat=True)) == before
