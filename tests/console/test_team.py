"""The console's team page, organizations, and who may change whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import audit, services
from accounts.models import ApiKey, AuditEntry, Invitation, Membership, Organization, User
from billing.models import DayTotal
from tests.cast.admin import Acme, acme

pytestmark = pytest.mark.django_db
OWNER, ADMIN, MEMBER = Membership.Role.OWNER, Membership.Role.ADMIN, Membership.Role.MEMBER
TEAM = "/console/team/"


@dataclass
class Team:
    """Acme with an owner, an admin and a member, and somebody who is in another organization only."""

    cast: Acme
    owner: Membership
    admin: Membership
    member: Membership
    stranger: Membership

    def client(self, who: Membership) -> Client:
        client = Client()
        client.force_login(who.user)
        return client


@pytest.fixture
def team() -> Team:
    cast = acme()

    def joined(email: str, role: str) -> Membership:
        user = services.create_user(email=email, name=email.partition("@")[0].title())
        return Membership.objects.create(user=user, organization=cast.organization, role=role)

    stranger = services.create_user(email="mallory@example.com")
    other = services.create_organization(name="Globex", owner=stranger)
    return Team(
        cast,
        Membership.objects.get(user=cast.alice, organization=cast.organization),
        joined("bob@example.com", ADMIN),
        joined("carol@example.com", MEMBER),
        Membership.objects.get(user=stranger, organization=other),
    )


def role_of(row: Membership) -> str | None:
    return Membership.objects.filter(pk=row.pk).values_list("role", flat=True).first()


def said(answer: Any) -> list[str]:
    """The messages on the page that an answer leads to."""
    return [str(message) for message in answer.context["messages"]]


# The page


def test_the_page_shows_members_with_keys_and_spending_to_admins(team: Team) -> None:
    DayTotal.objects.create(
        day=timezone.now().date(),
        organization=team.cast.organization,
        model="gpt-small",
        api_key_id=team.cast.key.pk,
        requests=3,
        cost_nanos=1_230_000_000,
    )
    gone, _ = services.create_api_key(organization=team.cast.organization, user=team.cast.alice, name="gone")
    services.delete_api_key(key=gone)

    page = team.client(team.admin).get(TEAM)

    rows = [(row.member.user.email, row.member.role, row.keys, row.spent_nanos) for row in page.context["rows"]]
    assert rows == [
        ("alice@example.com", OWNER, 1, 1_230_000_000),
        ("bob@example.com", ADMIN, 0, 0),
        ("carol@example.com", MEMBER, 0, 0),
    ]
    assert "$1.23" in page.content.decode()


def test_a_member_sees_who_is_there_and_no_more(team: Team) -> None:
    services.invite(member=team.owner, email="dora@example.com", role=MEMBER, site_url="https://x")

    page = team.client(team.member).get(TEAM)

    text = page.content.decode()
    assert page.status_code == 200
    assert "bob@example.com" in text
    assert "dora@example.com" not in text
    assert {row.spent_nanos for row in page.context["rows"]} == {None}
    assert {row.roles for row in page.context["rows"]} == {()}
    assert "Send an invitation" not in text


def test_the_page_costs_the_same_queries_however_many_there_are(team: Team) -> None:
    client = team.client(team.owner)
    client.get(TEAM)
    with CaptureQueriesContext(connection) as few:
        client.get(TEAM)
    for number in range(30):
        user = services.create_user(email=f"person{number}@example.com")
        Membership.objects.create(user=user, organization=team.cast.organization)
        services.create_api_key(organization=team.cast.organization, user=user, name="k")
        services.invite(member=team.owner, email=f"dora{number}@example.com", role=MEMBER, site_url="https://x")

    with CaptureQueriesContext(connection) as many:
        client.get(TEAM)

    assert len(many) == len(few)
    assert len(many) <= 20


def test_many_members_are_turned_over_page_by_page(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("costrouter.console.team.PAGE_SIZE", 2)
    client = team.client(team.owner)

    first, second = client.get(TEAM), client.get(f"{TEAM}?page=2")

    assert [row.member.user.email for row in first.context["rows"]] == ["alice@example.com", "bob@example.com"]
    assert [row.member.user.email for row in second.context["rows"]] == ["carol@example.com"]
    assert "3 members" in second.content.decode()


def test_a_personal_organization_invites_to_make_another(team: Team) -> None:
    user = services.create_user(email="solo@example.com")
    client = Client()
    client.force_login(user)

    page = client.get(TEAM)
    refused = client.post(f"{TEAM}invite/", {"email": "dora@example.com", "role": MEMBER})

    assert "/console/organizations/new/" in page.content.decode()
    assert "Send an invitation" not in page.content.decode()
    assert refused.status_code == 422
    assert not Invitation.objects.exists()


def test_visitors_are_sent_to_sign_in(team: Team) -> None:
    for path in (TEAM, "/console/audit/", "/console/settings/", "/console/organizations/new/"):
        assert Client().get(path).url == f"/accounts/login/?next={path}"  # type: ignore[attr-defined]


# Inviting


def test_an_admin_invites_and_the_mail_has_the_link_of_this_site(
    team: Team, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = team.client(team.admin).post(
            f"{TEAM}invite/", {"email": "dora@example.com", "role": MEMBER}, follow=True
        )

    assert said(answer) == ["An invitation is on its way to dora@example.com."]
    assert [(row.email, row.role) for row in Invitation.objects.all()] == [("dora@example.com", MEMBER)]
    assert "http://testserver/console/invitations/" in str(mail.outbox[-1].body)
    entry = AuditEntry.objects.latest("id")
    assert (entry.actor, entry.via, entry.organization) == (team.admin.user, "console", team.cast.organization)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"email": "nobody", "role": MEMBER}, "email"),
        ({"email": "carol@example.com", "role": MEMBER}, "email"),
        ({"email": "dora@example.com", "role": OWNER}, "role"),
        ({"email": "dora@example.com", "role": ""}, "role"),
    ],
)
def test_what_an_admin_may_not_send_is_said_at_the_field(team: Team, form: dict[str, str], field: str) -> None:
    answer = team.client(team.admin).post(f"{TEAM}invite/", form)

    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert not Invitation.objects.exists()


def test_an_invitation_is_withdrawn(team: Team) -> None:
    invitation = services.invite(member=team.owner, email="dora@example.com", role=MEMBER, site_url="https://x")
    client = team.client(team.admin)
    before = client.get(TEAM).content.decode()

    answer = client.post(f"{TEAM}invitations/{invitation.pk}/withdraw/", follow=True)

    assert "dora@example.com" in before
    assert said(answer) == ["The invitation to dora@example.com is withdrawn."]
    assert not Invitation.objects.exists()


# Roles


@pytest.mark.parametrize(
    ("actor", "target", "role", "after"),
    [
        ("owner", "member", ADMIN, ADMIN),
        ("owner", "admin", OWNER, OWNER),
        ("owner", "owner", ADMIN, OWNER),  # the last one stays
        ("admin", "member", ADMIN, ADMIN),
        ("admin", "admin", MEMBER, MEMBER),
        ("admin", "member", OWNER, MEMBER),
        ("admin", "owner", MEMBER, OWNER),
        ("owner", "member", "emperor", MEMBER),
    ],
)
def test_who_may_give_whom_which_role(team: Team, actor: str, target: str, role: str, after: str) -> None:
    row = getattr(team, target)

    answer = team.client(getattr(team, actor)).post(f"{TEAM}members/{row.pk}/role/", {"role": role})

    assert answer.status_code == 302
    assert role_of(row) == after


def test_what_was_refused_is_said(team: Team) -> None:
    client = team.client(team.admin)

    answer = client.post(f"{TEAM}members/{team.owner.pk}/role/", {"role": MEMBER}, follow=True)

    assert said(answer) == ["Only an owner may make, change or remove owners."]


def test_an_owner_gives_ownership_away(team: Team) -> None:
    client = team.client(team.owner)
    client.post(f"{TEAM}members/{team.admin.pk}/role/", {"role": OWNER})
    client.post(f"{TEAM}members/{team.owner.pk}/role/", {"role": MEMBER})

    assert (role_of(team.owner), role_of(team.admin)) == (MEMBER, OWNER)


@pytest.mark.parametrize(
    ("actor", "target", "is_removed"),
    [
        ("owner", "admin", True),
        ("owner", "member", True),
        ("admin", "member", True),
        ("admin", "admin", True),
        ("admin", "owner", False),
        ("owner", "owner", False),
    ],
)
def test_who_may_remove_whom(team: Team, actor: str, target: str, is_removed: bool) -> None:
    row = getattr(team, target)

    team.client(getattr(team, actor)).post(f"{TEAM}members/{row.pk}/remove/")

    assert (role_of(row) is None) == is_removed


def test_a_removed_member_loses_keys_and_tokens_of_that_organization_alone(team: Team) -> None:
    carol, organization = team.member.user, team.cast.organization
    key, _ = services.create_api_key(organization=organization, user=carol, name="here")
    personal = carol.memberships.get(organization__is_personal=True)
    other, _ = services.create_api_key(organization=personal.organization, user=carol, name="at home")
    services.create_access_token(member=team.member, name="here", scopes=["usage:read"])
    services.create_access_token(member=personal, name="at home", scopes=["usage:read"])

    team.client(team.owner).post(f"{TEAM}members/{team.member.pk}/remove/")

    assert [ApiKey.objects.get(pk=row.pk).enabled for row in (key, other)] == [False, True]
    assert [token.name for token in carol.access_tokens.all()] == ["at home"]
    assert ApiKey.objects.get(pk=team.cast.key.pk).enabled


def test_a_stale_actor_has_no_more_rights_than_they_have_now(team: Team) -> None:
    stale = Membership.objects.get(pk=team.admin.pk)
    services.change_role(actor=team.owner, target=team.admin, role=MEMBER)

    with pytest.raises(ValidationError):
        services.remove_member(actor=stale, target=team.member)

    assert role_of(team.member) == MEMBER


def test_somebody_of_another_organization_is_no_actor(team: Team) -> None:
    with pytest.raises(ValidationError):
        services.change_role(actor=team.stranger, target=team.member, role=ADMIN)

    assert role_of(team.member) == MEMBER


# Tenancy and roles of every address


def addresses(team: Team) -> list[str]:
    invitation = services.invite(member=team.owner, email="dora@example.com", role=MEMBER, site_url="https://x")
    return [
        f"{TEAM}members/{team.member.pk}/role/",
        f"{TEAM}members/{team.member.pk}/remove/",
        f"{TEAM}invitations/{invitation.pk}/withdraw/",
    ]


def test_another_organizations_rows_are_not_there(team: Team) -> None:
    client = team.client(team.stranger)

    answers = [client.post(path, {"role": ADMIN}).status_code for path in addresses(team)]

    assert answers == [404, 404, 404]
    assert role_of(team.member) == MEMBER
    assert Invitation.objects.count() == 1


def test_members_may_change_nothing(team: Team) -> None:
    client = team.client(team.member)
    paths = [*addresses(team), f"{TEAM}invite/"]

    answers = [client.post(path, {"role": ADMIN, "email": "x@example.com"}).status_code for path in paths]

    assert answers == [403, 403, 403, 403]
    assert role_of(team.member) == MEMBER
    assert Invitation.objects.count() == 1


def test_nothing_is_done_by_following_a_link(team: Team) -> None:
    client = team.client(team.owner)

    answers = [client.get(path).status_code for path in [*addresses(team), f"{TEAM}invite/"]]

    assert answers == [405, 405, 405, 405]


# Organizations


def test_somebody_makes_an_organization_and_is_in_it(team: Team) -> None:
    client = team.client(team.member)

    answer = client.post("/console/organizations/new/", {"name": "  Initech  "}, follow=True)

    made = Organization.objects.get(name="Initech")
    assert [(row.user, row.role) for row in made.memberships.all()] == [(team.member.user, OWNER)]
    assert not made.is_personal
    assert answer.context["member"].organization == made
    assert said(answer) == ["“Initech” is made, and you own it."]


@pytest.mark.parametrize("name", ["", "   ", "x" * 151])
def test_an_organization_needs_a_name(team: Team, name: str) -> None:
    before = Organization.objects.count()

    answer = team.client(team.member).post("/console/organizations/new/", {"name": name})

    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == ["name"]
    assert Organization.objects.count() == before


def test_somebody_without_any_organization_can_make_one() -> None:
    user = services.create_user(email="solo@example.com")
    Membership.objects.filter(user=user).delete()
    client = Client()
    client.force_login(user)

    sent = client.get(TEAM)
    page = client.get("/console/organizations/new/")
    client.post("/console/organizations/new/", {"name": "Fresh"})

    assert sent.url == "/console/organizations/new/"  # type: ignore[attr-defined]
    assert page.status_code == 200
    assert client.get(TEAM).context["member"].organization.name == "Fresh"


def test_one_switches_between_ones_own_organizations_only(team: Team) -> None:
    client = team.client(team.member)
    personal = team.member.user.memberships.get(organization__is_personal=True).organization
    switch = "/console/organizations/switch/"

    def current() -> Organization:
        found: Organization = client.get(TEAM).context["member"].organization
        return found

    before = current()
    answer = client.post(switch, {"organization": personal.pk})
    after = current()
    refused = [
        client.post(switch, {"organization": value}).status_code
        for value in (team.stranger.organization_id, "", "nonsense", "9" * 30)
    ]

    assert (before, after) == (team.cast.organization, personal)
    assert answer.status_code == 302
    assert refused == [404, 404, 404, 404]
    assert current() == personal


def test_who_was_removed_is_elsewhere_at_the_next_page(team: Team) -> None:
    client = team.client(team.member)
    client.post("/console/organizations/switch/", {"organization": team.cast.organization.pk})
    services.remove_member(actor=team.owner, target=team.member)

    page = client.get(TEAM)

    assert page.context["member"].organization.is_personal
    assert "alice@example.com" not in page.content.decode()


# The audit page


def test_the_audit_page_says_who_did_what_in_this_organization(team: Team) -> None:
    client = team.client(team.owner)
    client.post(f"{TEAM}members/{team.member.pk}/role/", {"role": ADMIN})
    with audit.acting(user=team.stranger.user, via="console"):
        services.save_organization(organization=renamed(team.stranger.organization, "Hidden Corp"))

    text = client.get("/console/audit/").content.decode()

    assert "Member&#x27;s role changed" in text
    assert "carol@example.com" in text
    assert "<del>member</del>" in text
    assert "Hidden Corp" not in text


def renamed(organization: Organization, name: str) -> Organization:
    organization.name = name
    return organization


def test_the_audit_page_does_not_name_operators(team: Team) -> None:
    root = User.objects.create_superuser("root@example.com", "a-long-password")
    with audit.acting(user=root, via="admin", client_ip="198.51.100.7"):
        services.set_api_keys_enabled(keys=[team.cast.key], enabled=False)
    client = team.client(team.owner)

    everything = client.get("/console/audit/").content.decode()
    filtered = client.get("/console/audit/?who=operator&action=api_key.disabled&days=1").context["page"].rows

    assert "root@example.com" not in everything
    assert "198.51.100.7" not in everything
    assert [(row.text, row.object_name, row.is_operator) for row in filtered] == [("API key disabled", "laptop", True)]


def test_the_audit_page_turns_over_and_keeps_its_filter(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.audit_log.PAGE_SIZE", 1)
    client = team.client(team.owner)
    for enabled in (False, True, False):
        services.set_api_keys_enabled(keys=[team.cast.key], enabled=enabled)
    wanted = "/console/audit/?action=api_key.disabled"

    first = client.get(wanted)
    second = client.get(f"/console/audit/?{first.context['older']}")

    assert [len(page.context["page"].rows) for page in (first, second)] == [1, 1]
    assert first.context["page"].rows[0].id > second.context["page"].rows[0].id
    assert {row.action for page in (first, second) for row in page.context["page"].rows} == {"api_key.disabled"}


@pytest.mark.parametrize("query", ["before=x", "before=" + "9" * 40, "who=1%27", "action=channel.created", "days=0"])
def test_the_audit_page_answers_whatever_it_is_asked(team: Team, query: str) -> None:
    assert team.client(team.owner).get(f"/console/audit/?{query}").status_code == 200


def test_the_audit_page_is_for_admins(team: Team) -> None:
    answers = [team.client(who).get("/console/audit/").status_code for who in (team.owner, team.admin, team.member)]

    assert answers == [200, 200, 403]


def test_the_audit_page_costs_few_queries(team: Team) -> None:
    client = team.client(team.owner)
    for number in range(60):
        with audit.acting(user=team.owner.user, via="console"):
            audit.record("api_key.disabled", kind="api_key", name=f"k{number}", organization=team.cast.organization)

    with CaptureQueriesContext(connection) as queries:
        page = client.get("/console/audit/?action=api_key.disabled&days=7")

    assert len(page.context["page"].rows) == 50
    assert len(queries) <= 15
