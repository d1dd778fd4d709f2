"""The console's settings: the organization's name, leaving it, and one's own access tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import services
from accounts.models import ApiKey, AuditEntry, Membership, Organization, PersonalAccessToken, User
from costrouter.console.organizations import OrganizationForm
from tests.cast.admin import Acme, acme

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
SETTINGS = "/console/settings/"
NEW = f"{SETTINGS}tokens/new/"
OWNER, ADMIN, MEMBER = Membership.Role.OWNER, Membership.Role.ADMIN, Membership.Role.MEMBER


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def joined(cast: Acme, email: str, role: str) -> Membership:
    return Membership.objects.create(user=services.create_user(email=email), organization=cast.organization, role=role)


def token_of(user: User, organization: Organization, name: str = "report") -> PersonalAccessToken:
    member = Membership.objects.get(user=user, organization=organization)
    return services.create_access_token(member=member, name=name, scopes=["usage:read"])[0]


def said(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


# The organization


def test_an_owner_renames_the_organization() -> None:
    cast = acme()

    answer = client_of(cast.alice).post(f"{SETTINGS}organization/", {"name": " Apex "}, follow=True)

    assert Organization.objects.get(pk=cast.organization.pk).name == "Apex"
    assert said(answer) == ["Saved."]
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.changes) == ("organization.changed", {"name": ["Acme", "Apex"]})
    assert (entry.actor, entry.via) == (cast.alice, "console")


def test_a_rename_undoes_no_suspension_that_comes_between(monkeypatch: pytest.MonkeyPatch) -> None:
    cast = acme()
    is_valid = OrganizationForm.is_valid

    def suspended_meanwhile(form: OrganizationForm) -> bool:
        row = Organization.objects.get(pk=cast.organization.pk)
        services.set_organizations_status(organizations=[row], status="suspended")
        return is_valid(form)

    monkeypatch.setattr(OrganizationForm, "is_valid", suspended_meanwhile)
    client_of(cast.alice).post(f"{SETTINGS}organization/", {"name": "Apex"})

    after = Organization.objects.get(pk=cast.organization.pk)
    assert (after.name, after.status) == ("Apex", "suspended")


@pytest.mark.parametrize("role", [ADMIN, MEMBER])
def test_others_do_not_rename_it(role: str) -> None:
    cast = acme()
    client = client_of(joined(cast, "bob@example.com", role).user)

    page, answer = client.get(SETTINGS), client.post(f"{SETTINGS}organization/", {"name": "Mine"})

    assert f"{SETTINGS}organization/" not in page.content.decode()
    assert answer.status_code == 403
    assert Organization.objects.get(pk=cast.organization.pk).name == "Acme"


@pytest.mark.parametrize("name", ["", "  ", "x" * 151])
def test_a_name_that_is_none_is_refused_and_the_page_shows_the_real_one(name: str) -> None:
    cast = acme()

    answer = client_of(cast.alice).post(f"{SETTINGS}organization/", {"name": name})

    assert answer.status_code == 422
    assert "name" in answer.context["form"].errors
    assert answer.context["member"].organization.name == "Acme"
    assert Organization.objects.get(pk=cast.organization.pk).name == "Acme"


def test_renaming_changes_nothing_but_the_name() -> None:
    cast = acme()

    client_of(cast.alice).post(f"{SETTINGS}organization/", {"name": "Apex", "status": "suspended", "is_personal": "on"})

    row = Organization.objects.get(pk=cast.organization.pk)
    assert (row.name, row.status, row.is_personal) == ("Apex", "active", False)


def test_somebody_leaves_and_what_they_had_there_ends() -> None:
    cast = acme()
    bob = joined(cast, "bob@example.com", ADMIN)
    key, _ = services.create_api_key(organization=cast.organization, user=bob.user, name="bobs")
    token_of(bob.user, cast.organization)

    answer = client_of(bob.user).post(f"{SETTINGS}leave/")

    assert answer.status_code == 302
    assert not Membership.objects.filter(pk=bob.pk).exists()
    assert ApiKey.objects.get(pk=key.pk).enabled is False
    assert not PersonalAccessToken.objects.exists()
    assert AuditEntry.objects.filter(action="member.removed", object_name="bob@example.com").count() == 1


def test_the_last_owner_stays() -> None:
    cast = acme()
    joined(cast, "bob@example.com", ADMIN)
    client = client_of(cast.alice)

    answer = client.post(f"{SETTINGS}leave/", follow=True)

    assert said(answer) == ["An organization needs an owner."]
    assert Membership.objects.get(user=cast.alice, organization=cast.organization).role == OWNER
    assert ApiKey.objects.get(pk=cast.key.pk).enabled


# Tokens


def test_a_new_tokens_secret_is_shown_once() -> None:
    cast = acme()
    client = client_of(cast.alice)

    made = client.post(NEW, {"name": "nightly", "days": "30", "scopes": ["usage:read", "keys:read"]})

    secret = made.context["secret"]
    token = PersonalAccessToken.objects.get()
    assert made.status_code == 200
    assert made.headers["Cache-Control"] == "no-store"
    assert secret in made.content.decode()
    assert services.access_token_by_secret(secret) == token
    assert (token.name, token.scopes) == ("nightly", ["usage:read", "keys:read"])
    assert token.expires_at is not None
    assert abs(token.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    later = client.get(SETTINGS).content.decode()
    assert "nightly" in later
    assert token.prefix in later
    assert secret not in later


def test_a_token_may_live_until_it_is_deleted() -> None:
    client_of(acme().alice).post(NEW, {"name": "forever", "days": "0", "scopes": ["usage:read"]})

    assert PersonalAccessToken.objects.get().expires_at is None


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"name": "", "days": "30", "scopes": ["usage:read"]}, "name"),
        ({"name": "x", "days": "30", "scopes": []}, "scopes"),
        ({"name": "x", "days": "30", "scopes": ["operator:read"]}, "scopes"),
        ({"name": "x", "days": "30", "scopes": ["everything"]}, "scopes"),
        ({"name": "x", "days": "31", "scopes": ["usage:read"]}, "days"),
        ({"name": "x", "days": "", "scopes": ["usage:read"]}, "days"),
    ],
)
def test_what_is_wrong_is_said_at_the_field_and_no_token_is_made(form: dict[str, Any], field: str) -> None:
    answer = client_of(acme().alice).post(NEW, form)

    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert not PersonalAccessToken.objects.exists()


def test_operators_are_offered_operators_scopes() -> None:
    cast = acme()
    before = client_of(cast.alice).get(NEW).content.decode()
    cast.alice.is_staff = True
    services.save_user(user=cast.alice)

    assert "operator:write" not in before
    assert "operator:write" in client_of(cast.alice).get(NEW).content.decode()


def test_one_sees_and_deletes_ones_own_tokens_of_this_organization_alone() -> None:
    cast = acme()
    bob = joined(cast, "bob@example.com", OWNER)
    mine = token_of(cast.alice, cast.organization, "mine")
    his = token_of(bob.user, cast.organization, "his")
    personal = cast.alice.memberships.get(organization__is_personal=True).organization
    elsewhere = token_of(cast.alice, personal, "elsewhere")
    client = client_of(cast.alice)

    shown = [token.name for token, _ in client.get(SETTINGS).context["tokens"]]
    refused = [client.post(f"{SETTINGS}tokens/{row.pk}/delete/").status_code for row in (his, elsewhere)]
    deleted = client.post(f"{SETTINGS}tokens/{mine.pk}/delete/", follow=True)

    assert shown == ["mine"]
    assert refused == [404, 404]
    assert said(deleted) == ["“mine” is deleted and no longer works."]
    assert set(PersonalAccessToken.objects.all()) == {his, elsewhere}


def test_nothing_is_done_by_following_a_link() -> None:
    cast = acme()
    token = token_of(cast.alice, cast.organization)
    client = client_of(cast.alice)

    paths = [f"{SETTINGS}organization/", f"{SETTINGS}leave/", f"{SETTINGS}tokens/{token.pk}/delete/"]

    assert [client.get(path).status_code for path in paths] == [405, 405, 405]
    assert PersonalAccessToken.objects.exists()


def test_a_member_has_settings_too() -> None:
    cast = acme()
    client = client_of(joined(cast, "bob@example.com", MEMBER).user)

    page = client.get(SETTINGS)
    made = client.post(NEW, {"name": "mine", "days": "7", "scopes": ["team:write"]})

    assert page.status_code == 200
    assert "/accounts/2fa/" in page.content.decode()
    assert made.status_code == 200  # it does at most what their role allows


def test_an_expired_token_is_shown_as_such() -> None:
    cast = acme()
    token = token_of(cast.alice, cast.organization)
    PersonalAccessToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())

    assert "Expired" in client_of(cast.alice).get(SETTINGS).content.decode()
