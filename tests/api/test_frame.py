"""The frame of the management API: who gets in, what errors look like, what is refused before any resource sees it."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, Membership, Organization, PersonalAccessToken, User
from accounts.permissions import SCOPES
from accounts.services import create_access_token, create_organization, create_user
from costrouter.api.throttles import PerCaller

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


@pytest.fixture
def client() -> Client:
    cache.clear()
    return Client()


@pytest.fixture
def alice() -> User:
    return create_user(email="alice@example.com", password="a-long-password", name="Alice")


@pytest.fixture
def acme(alice: User) -> Organization:
    return create_organization(name="Acme", owner=alice)


def token_of(user: User, organization: Organization, *scopes: str, **given: Any) -> dict[str, str]:
    """Headers with a new token; without scopes it has all that the user may give."""
    chosen = scopes or [scope for scope in SCOPES if user.is_staff or not scope.startswith("operator:")]
    member = Membership.objects.get(user=user, organization=organization)
    _, secret = create_access_token(member=member, name="test", scopes=chosen, **given)
    return {"authorization": f"Bearer {secret}"}


def error(response: Any) -> tuple[int, str]:
    """(status, code), having looked that the error has its shape."""
    body = response.json()
    assert set(body) == {"error"} and set(body["error"]) <= {"code", "message", "fields"}
    assert body["error"]["message"]
    assert response["Content-Type"] == "application/json"
    return response.status_code, body["error"]["code"]


def test_without_anything_it_is_401_and_says_how(client: Client) -> None:
    response = client.get("/api/v1/me")

    assert error(response) == (401, "unauthenticated")
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_session_acts_in_the_consoles_organization(client: Client, alice: User, acme: Organization) -> None:
    client.force_login(alice)

    body = client.get("/api/v1/me").json()

    assert body["user"] == {"id": alice.pk, "email": "alice@example.com", "name": "Alice", "is_operator": False}
    assert body["organization"]["name"] == "Acme"
    assert [row["name"] for row in body["organizations"]] == ["Alice", "Acme"]
    assert body["scopes"] is None
    assert "organization.edit" in body["permissions"]


def test_a_token_acts_in_its_own_organization_and_tells_of_no_other(
    client: Client, alice: User, acme: Organization
) -> None:
    headers = token_of(alice, acme, "usage:read")

    body = client.get("/api/v1/me", headers=headers).json()

    assert body["organization"]["id"] == acme.pk
    assert [row["id"] for row in body["organizations"]] == [acme.pk]
    assert body["scopes"] == ["usage:read"]
    assert PersonalAccessToken.objects.get().last_used_at is not None


@pytest.mark.parametrize("value", ["Bearer crt_nobody", "Bearer ", "Bearer \u00e9\u00ff", "Bearer a b c"])
def test_a_wrong_token_is_401(client: Client, alice: User, value: str) -> None:
    client.force_login(alice)

    assert error(client.get("/api/v1/me", headers={"authorization": value})) == (401, "unauthenticated")


def test_an_expired_token_is_401(client: Client, alice: User, acme: Organization) -> None:
    headers = token_of(alice, acme)
    PersonalAccessToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    assert error(client.get("/api/v1/me", headers=headers)) == (401, "unauthenticated")


def test_a_token_of_somebody_who_left_is_401(client: Client, alice: User, acme: Organization) -> None:
    headers = token_of(alice, acme)
    Membership.objects.filter(organization=acme).delete()

    assert error(client.get("/api/v1/me", headers=headers)) == (401, "unauthenticated")


def test_a_session_needs_its_csrf_token_to_change_something(alice: User, acme: Organization) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    refused = client.patch("/api/v1/organization", {"name": "Stolen"}, "application/json")
    client.cookies["csrftoken"] = "c" * 32
    headers = {"x-csrftoken": "c" * 32}
    done = client.patch("/api/v1/organization", {"name": "Renamed"}, "application/json", headers=headers)

    assert error(refused) == (403, "csrf_failed")
    assert done.status_code == 200
    acme.refresh_from_db()
    assert acme.name == "Renamed"


def test_a_token_needs_no_csrf_token(alice: User, acme: Organization) -> None:
    client = Client(enforce_csrf_checks=True)
    headers = token_of(alice, acme)

    response = client.patch("/api/v1/organization", {"name": "Renamed"}, "application/json", headers=headers)

    assert response.status_code == 200
    assert response.json()["name"] == "Renamed"


def test_the_audit_log_knows_the_tokens_user(client: Client, alice: User, acme: Organization) -> None:
    headers = token_of(alice, acme)

    client.patch("/api/v1/organization", {"name": "Renamed"}, "application/json", headers=headers)

    entry = AuditEntry.objects.get(action="organization.changed")
    assert (entry.actor, entry.actor_name, entry.via, entry.client_ip) == (alice, alice.email, "api", "127.0.0.1")
    assert entry.changes == {"name": ["Acme", "Renamed"]}


def test_a_missing_scope_is_named(client: Client, alice: User, acme: Organization) -> None:
    response = client.patch(
        "/api/v1/organization", {"name": "X"}, "application/json", headers=token_of(alice, acme, "usage:read")
    )

    assert error(response) == (403, "missing_scope")
    assert "team:write" in response.json()["error"]["message"]
    acme.refresh_from_db()
    assert acme.name == "Acme"


def test_a_missing_role_is_named(client: Client, alice: User, acme: Organization) -> None:
    Membership.objects.filter(organization=acme).update(role="admin")

    response = client.patch("/api/v1/organization", {"name": "X"}, "application/json", headers=token_of(alice, acme))

    assert error(response) == (403, "missing_role")
    assert response.json()["error"]["message"] == "This needs the role owner in the organization; yours is admin."


def test_somebody_without_organization_can_make_one(client: Client, alice: User) -> None:
    Membership.objects.all().delete()
    client.force_login(alice)

    assert error(client.get("/api/v1/organization")) == (403, "no_organization")
    assert client.get("/api/v1/me").json()["organization"] is None
    made = client.post("/api/v1/organizations", {"name": "New"}, "application/json")
    assert (made.status_code, made.json()["role"]) == (201, "owner")


def test_tokens_cannot_make_organizations(client: Client, alice: User, acme: Organization) -> None:
    response = client.post("/api/v1/organizations", {"name": "N"}, "application/json", headers=token_of(alice, acme))

    assert error(response) == (403, "session_needed")
    assert Organization.objects.count() == 2


@pytest.mark.parametrize("path", ["nothing", "me/", "me/7", "keys/0", "keys/99999999999999999999", "organization/x"])
def test_what_is_no_resource_is_404(client: Client, path: str) -> None:
    assert error(client.get(f"/api/v1/{path}")) == (404, "not_found")
    assert error(client.post(f"/api/v1/{path}", {}, "application/json")) == (404, "not_found")


def test_the_root_leads_to_the_docs(client: Client) -> None:
    assert client.get("/api/v1/")["Location"] == "/api/v1/docs/"


def test_another_method_is_405_and_names_those_there_are(client: Client, alice: User) -> None:
    client.force_login(alice)

    response = client.delete("/api/v1/organization")

    assert error(response) == (405, "method_not_allowed")
    assert response["Allow"] == "GET, PATCH, HEAD"
    assert error(client.options("/api/v1/organization")) == (405, "method_not_allowed")


def test_head_is_get_without_a_body(client: Client, alice: User) -> None:
    client.force_login(alice)

    response = client.head("/api/v1/me")

    assert (response.status_code, response.content) == (200, b"")


def patch(client: Client, body: bytes | str, kind: str = "application/json") -> Any:
    return client.generic("PATCH", "/api/v1/organization", body, kind)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", (400, "malformed")),
        (b'{"name": NaN}', (400, "malformed")),
        (b"\xff\xfe", (400, "malformed")),
        (b"[" * 200_000, (400, "malformed")),
        (b"[" * 60 + b"]" * 60, (400, "malformed")),
        (b'{"name": "a\\u0000b"}', (400, "malformed")),
        (b'{"na\\u0000me": "a"}', (400, "malformed")),
        (b'{"name": "\\ud800"}', (400, "malformed")),
        (b"[]", (400, "invalid")),
        (b"null", (400, "invalid")),
        (b"{}", (400, "invalid")),
        (b'{"name": ""}', (400, "invalid")),
        (b'{"name": 1e400}', (400, "malformed")),
        (b'{"name": 7}', (400, "invalid")),
        (b'{"name": "' + b"x" * 151 + b'"}', (400, "invalid")),
        (b'{"name": "a", "other": 1}', (400, "invalid")),
        (b"x" * (4 * 1024 * 1024 + 1), (413, "too_large")),
    ],
)
def test_bodies_that_are_refused(
    client: Client, alice: User, acme: Organization, body: bytes, expected: tuple[int, str]
) -> None:
    client.force_login(alice)

    assert error(patch(client, body)) == expected
    acme.refresh_from_db()
    assert acme.name == "Acme"


def test_bodies_are_json(client: Client, alice: User, acme: Organization) -> None:
    client.force_login(alice)

    assert error(patch(client, b"name=X", "application/x-www-form-urlencoded")) == (415, "unsupported_media_type")
    assert error(patch(client, b"<x/>", "application/xml")) == (415, "unsupported_media_type")


def test_fields_are_named(client: Client, alice: User, acme: Organization) -> None:
    client.force_login(alice)

    body = patch(client, json.dumps({"nom": "X"})).json()

    assert body["error"]["fields"] == {"nom": ["There is no such field."]}


@pytest.mark.parametrize("query", ["x=1", "limit=1&limit=2", "a%00=1"])
def test_unknown_parameters_are_refused(client: Client, alice: User, query: str) -> None:
    client.force_login(alice)

    assert error(client.get(f"/api/v1/me?{query}")) == (400, "invalid")


def test_too_many_requests_are_429(client: Client, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PerCaller, "THROTTLE_RATES", {"api": "2/min"})
    client.force_login(alice)

    statuses = [client.get("/api/v1/me").status_code for _ in range(3)]
    response = client.get("/api/v1/me")

    assert statuses == [200, 200, 429]
    assert error(response) == (429, "too_many_requests")
    assert 1 <= int(response["Retry-After"]) <= 60


def test_our_own_mistakes_are_json_and_tell_nothing(
    client: Client, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("costrouter.api.tenant.me.memberships", fail)
    client.force_login(alice)

    response = client.get("/api/v1/me")

    assert error(response) == (500, "internal")
    assert b"hunter2" not in response.content
    assert "hunter2" in caplog.text


def test_answers_are_never_stored(client: Client, alice: User) -> None:
    client.force_login(alice)

    assert client.get("/api/v1/me")["Cache-Control"] == "private, no-store"


def test_the_schema_has_no_warning_and_is_valid() -> None:
    output = StringIO()

    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=output)

    document = json.loads(output.getvalue())
    assert document["openapi"] == "3.1.0"
    assert document["paths"]["/api/v1/organization"]["patch"]["security"] == [
        {"accessToken": ["team:write"]},
        {"session": []},
    ]


def test_the_schema_is_public(client: Client) -> None:
    response = client.get("/api/v1/schema/")

    assert response.status_code == 200
    assert "/api/v1/me" in response.json()["paths"]
