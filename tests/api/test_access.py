"""Who may do what in the management API: every operation, for every kind of caller; and nobody sees another tenant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import services
from accounts.models import Membership
from accounts.permissions import SCOPES, allows
from billing.models import Budget, DayTotal
from billing.redemption import create_batch
from billing.services import add_entry, append_price, save_budget
from channels_app.models import CatalogueModel, Channel, ChannelHealth, ModelGroup
from channels_app.services import save_channel, save_group, save_model
from costrouter.api import urls
from costrouter.api.base import NotFound, Operation
from tests.cast.api import Api, Cast, by_session, by_token, cast, error, new_record, new_token

pytestmark = pytest.mark.django_db


def operations() -> list[tuple[str, str, str, Operation]]:
    """(method, URL name, path below /api/v1/, what it declares) of every operation in the URLconf."""
    found = []
    for pattern in urls.urlpatterns:
        view = getattr(getattr(pattern, "callback", None), "view_class", None)
        if view is None or view is NotFound:
            continue
        path = re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern))
        for method in ("get", "post", "put", "patch", "delete"):
            declared = getattr(getattr(view, method, None), "operation", None)
            if declared is not None:
                found.append((method, pattern.name, path, declared))
    return found


OPERATIONS = operations()
TENANT = [row for row in OPERATIONS if not row[3].permissions]
OPERATOR = [row for row in OPERATIONS if row[3].permissions]


@contextmanager
def undone() -> Iterator[None]:
    """What happens within leaves no trace."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def people() -> Cast:
    return cast()


def path_of(row: Any, people: Cast) -> str:
    path: str = row[2].format_map(people.ids())
    return path


def ask(client: Api, row: Any, people: Cast) -> Any:
    """An operation about Acme's things, with an empty body where it takes one: a 400 says that it was let in."""
    method, _, _, declared = row
    return client.ask(method, path_of(row, people), {} if declared.body is not None else None)


def refusal(response: Any) -> str | None:
    """The code of a 401 or 403, None where the caller was let in."""
    return error(response)[1] if response.status_code in (401, 403) else None


def test_every_operation_declares_what_it_needs() -> None:
    free = {declared.id for *_, declared in OPERATIONS if not declared.scope and not declared.session_only}
    open_to_all = {declared.id for *_, declared in TENANT if declared.action is None}

    assert free == {"me", "listOrganizations", "getOrganization"}
    assert open_to_all == {*("me", "listOrganizations", "createOrganization", "switchOrganization", "acceptInvitation")}
    for method, _, path, declared in OPERATIONS:
        assert path.startswith("operator/") == bool(declared.permissions), path
        assert declared.scope.startswith("operator:") == bool(declared.permissions), path
        if declared.scope and not declared.permissions:
            reads = method == "get"
            assert declared.scope.endswith(":read" if reads else ":write"), path
    assert {declared.scope for *_, declared in OPERATIONS} - {""} == set(SCOPES)
    assert len({declared.id for *_, declared in OPERATIONS}) == len(OPERATIONS)


def test_strangers_get_401(people: Cast) -> None:
    for row in OPERATIONS:
        response = ask(Api(), row, people)

        assert error(response) == (401, "unauthenticated"), row[2]
        assert response["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_token_needs_the_scope(people: Cast) -> None:
    """With all but this scope it is refused, with this one alone it is let in."""
    olgas = people.olga.organizations.get()
    for row in OPERATIONS:
        scope = row[3].scope
        if not scope:
            continue
        user, organization = (people.olga, olgas) if row[3].permissions else (people.alice, people.acme)
        others = [name for name in SCOPES if name != scope and (user.is_staff or not name.startswith("operator:"))]

        with undone():
            refused = ask(by_token(user, organization, *others), row, people)
            let_in = ask(by_token(user, organization, scope), row, people)

        assert refusal(refused) == "missing_scope", row[2]
        assert scope in refused.json()["error"]["message"]
        assert refusal(let_in) is None, row[2]


def test_what_only_a_session_may_do(people: Cast) -> None:
    for row in [row for row in OPERATIONS if row[3].session_only]:
        with undone():
            refused = ask(by_token(people.alice, people.acme), row, people)
            let_in = ask(by_session(people.alice, people.acme), row, people)

        assert refusal(refused) == "session_needed", row[2]
        assert refusal(let_in) is None, row[2]


@pytest.mark.parametrize("role", ["member", "admin", "owner"])
def test_roles(role: str, people: Cast) -> None:
    """By session and by token alike, as the table of permissions says."""
    user = {"member": people.carol, "admin": people.bob, "owner": people.alice}[role]
    session, token = by_session(user, people.acme), by_token(user, people.acme)
    for row in TENANT:
        declared = row[3]
        if declared.action is None:
            continue
        # Carol is whom it would remove, and everybody may leave.
        expected = None if allows(role, declared.action) or declared.id == "removeMember" else "missing_role"
        for client in [session] if declared.session_only else [session, token]:
            with undone():
                assert refusal(ask(client, row, people)) == expected, row[2]


def test_operators_endpoints_are_for_operators(people: Cast) -> None:
    """An owner is none; staff without the permission are told which; with it they are let in."""
    owner = by_session(people.alice, people.acme)
    for row in OPERATOR:
        with undone():
            staff = services.create_user(email="sam@example.com", password="a-long-password", is_staff=True)
            client = by_session(staff)
            assert refusal(ask(owner, row, people)) == "operators_only", row[2]
            for name in row[3].permissions:
                refused = ask(client, row, people)
                assert refusal(refused) == "operators_only", row[2]
                assert name in refused.json()["error"]["message"]
                app, codename = name.split(".")
                staff.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
            assert refusal(ask(client, row, people)) is None, row[2]


def test_operators_need_a_second_factor_where_the_site_says_so(people: Cast, settings: Any) -> None:
    settings.STAFF_MFA = True

    for client in (by_session(people.olga), by_token(people.olga, people.olga.organizations.get())):
        assert error(client.ask("get", "operator/channels")) == (403, "mfa_needed")


def test_a_token_outlives_neither_operator_nor_member(people: Cast) -> None:
    client = by_token(people.olga, people.olga.organizations.get())
    assert client.ask("get", "operator/channels").status_code == 200

    people.olga.is_staff = people.olga.is_superuser = False
    people.olga.save()

    assert refusal(client.ask("get", "operator/channels")) == "operators_only"


DETAILS = [row for row in TENANT if "{" in row[2] and "{model}" not in row[2] and "{month}" not in row[2]]


def test_another_organizations_things_are_not_there(people: Cast) -> None:
    """Mallory owns Globex: whatever is Acme's is 404 to her, and nothing happens to it."""
    before = state(people)
    session, token = by_session(people.mallory, people.globex), by_token(people.mallory, people.globex)
    assert len(DETAILS) >= 12
    for row in DETAILS:
        body = {"changeKey": {"name": "Mine"}, "changeMember": {"role": "owner"}}.get(row[3].id, {})
        for client in [session] if row[3].session_only else [session, token]:
            response = client.ask(row[0], path_of(row, people), body if row[3].body is not None else None)
            assert error(response) == (404, "not_found"), row[2]
    assert state(people) == before


def test_a_members_own_things_are_theirs_alone(people: Cast) -> None:
    """Carol is a member: Alice's key, request and token are 404 to her."""
    before = state(people)
    mine = [row for row in DETAILS if row[3].action in ("keys.own", "logs.own", "tokens.own")]
    assert len(mine) >= 8
    for row in mine:
        assert error(ask(by_session(people.carol, people.acme), row, people)) == (404, "not_found"), row[2]
    assert state(people) == before


def state(people: Cast) -> tuple[Any, ...]:
    """What a stranger might have changed."""
    people.key.refresh_from_db()
    acme = people.acme
    return (
        people.key.name,
        people.key.digest,
        people.key.enabled,
        people.key.deleted_at,
        sorted(acme.memberships.values_list("user_id", "role")),
        acme.invitations.count(),
        acme.access_tokens.filter(user=people.alice).count(),
    )


def test_lists_hold_nothing_of_another_organization(people: Cast) -> None:
    client = by_token(people.mallory, people.globex)

    assert client.ask("get", "keys").json() == {"data": [], "next_cursor": None}
    assert client.ask("get", "usage/records").json() == {"data": [], "next_cursor": None}
    assert client.ask("get", "billing/ledger").json() == {"data": [], "next_cursor": None}
    assert client.ask("get", "invitations").json() == {"data": [], "next_cursor": None}
    assert [row["email"] for row in client.ask("get", "members").json()["data"]] == ["mallory@example.com"]
    assert {row["object_name"] for row in client.ask("get", "audit").json()["data"]} <= {"Globex", "ci"}
    assert by_session(people.mallory, people.globex).ask("get", "access-tokens").json()["data"][0]["id"] != (
        people.token.pk
    )


def test_another_organizations_key_filters_nothing_in(people: Cast) -> None:
    client = by_token(people.mallory, people.globex)

    assert client.ask("get", "usage/records", key_id=people.key.pk).json()["data"] == []


def test_nobody_switches_to_an_organization_that_is_not_theirs(people: Cast) -> None:
    client = by_session(people.mallory, people.globex)

    response = client.ask("post", "organization/switch", {"organization_id": people.acme.pk})

    assert error(response) == (404, "not_found")
    assert client.ask("get", "organization").json()["id"] == people.globex.pk


def test_only_owners_touch_owners(people: Cast) -> None:
    bob = by_token(people.bob, people.acme)

    assert refusal(bob.ask("patch", f"members/{people.alice.pk}", {"role": "member"})) == "missing_role"
    assert refusal(bob.ask("patch", f"members/{people.carol.pk}", {"role": "owner"})) == "missing_role"
    assert refusal(bob.ask("delete", f"members/{people.alice.pk}")) == "missing_role"
    assert refusal(bob.ask("post", "invitations", {"email": "x@example.com", "role": "owner"})) == "missing_role"
    roles = dict(Membership.objects.filter(organization=people.acme).values_list("user__email", "role"))
    assert roles == {"alice@example.com": "owner", "bob@example.com": "admin", "carol@example.com": "member"}
    assert people.acme.invitations.count() == 1


def test_the_urls_have_names() -> None:
    assert reverse("api:keys") == "/api/v1/keys"
    assert reverse("api:docs") == "/api/v1/docs/"


def more(people: Cast) -> None:
    """Three more of everything that is listed."""
    for number in range(3):
        user = services.create_user(email=f"user{number}@example.com", password="a-long-password")
        Membership.objects.create(user=user, organization=people.acme, role="member")
        key, _ = services.create_api_key(organization=people.acme, user=user, name=f"key {number}")
        save_budget(budget=Budget(organization=people.acme, api_key=key, limit_nanos=1))
        new_record(people.acme, key)
        today = timezone.now().date()
        DayTotal.objects.create(day=today, organization=people.acme, model=f"m{number}", api_key_id=key.pk, requests=1)
        add_entry(
            wallet=people.acme.wallet, kind="credit", amount_nanos=1, idempotency_key=f"more:{number}", actor=people.bob
        )
        new_token(people.alice, people.acme)
        services.invite(
            member=Membership.objects.get(user=people.alice, organization=people.acme),
            email=f"guest{number}@example.com",
            role="member",
            site_url="https://relay.example",
        )
        model = save_model(model=CatalogueModel(name=f"model-{number}"))
        append_price(model_name=model.name, units={"input": "1", "output": "1"})
        group = save_group(group=ModelGroup(name=f"group-{number}"), organizations=[people.acme, people.globex])
        channel = Channel(name=f"Channel {number}", base_url="https://upstream.example/v1")
        save_channel(channel=channel, groups=[people.group, group], models={people.model: "", model: ""})
        ChannelHealth.objects.create(channel=channel)
        create_batch(name=f"Batch {number}", amount_nanos=1, count=3)


def test_no_list_asks_the_database_for_each_row(people: Cast) -> None:
    """Twenty queries at most, and as many for four rows as for one."""
    reads = [row for row in OPERATIONS if row[0] == "get"]
    Membership.objects.create(user=people.olga, organization=people.acme, role="owner")
    client = by_session(people.olga, people.acme)

    def counted() -> dict[str, int]:
        found = {}
        for row in reads:
            with CaptureQueriesContext(connection) as queries:
                assert ask(client, row, people).status_code in (200, 404), row[2]
            found[row[2]] = len(queries)
        return found

    before = counted()
    more(people)
    after = counted()

    assert {path: count for path, count in after.items() if count > 20 and path != "operator/reconcile"} == {}
    assert {path: (before[path], count) for path, count in after.items() if count > before[path] + 2} == {}
