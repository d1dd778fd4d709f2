"""Personal access tokens: made within one's rights, found by their secret alone, and gone with what they stood on."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts import services
from accounts.models import AuditEntry, Membership, PersonalAccessToken
from accounts.permissions import SCOPES
from costrouter.lib.crypto import key_digest
from tests.cast.admin import Acme, acme

pytestmark = pytest.mark.django_db


def member(cast: Acme) -> Membership:
    return Membership.objects.select_related("user", "organization").get(
        user=cast.alice, organization=cast.organization
    )


def made(cast: Acme, **options: object) -> tuple[PersonalAccessToken, str]:
    values = {"name": "report", "scopes": ["usage:read"], **options}
    return services.create_access_token(member=member(cast), **values)  # type: ignore[arg-type]


def test_a_token_is_stored_as_a_hash_and_found_by_its_secret() -> None:
    cast = acme()

    token, secret = made(cast, scopes=["keys:write", "usage:read"])

    assert re.fullmatch(r"crt_[A-Za-z0-9]{48}", secret)
    assert token.digest == key_digest(settings.KEY_HASH_SECRET, secret)
    assert secret.startswith(token.prefix)
    assert secret not in str(list(PersonalAccessToken.objects.values()))
    found = services.access_token_by_secret(secret)
    assert found == token
    assert (found.user, found.organization) == (cast.alice, cast.organization)
    assert found.scopes == ["usage:read", "keys:write"]  # in the order of the table, each once


def test_an_unknown_secret_finds_nothing() -> None:
    cast = acme()
    _, secret = made(cast)

    assert services.access_token_by_secret(secret[:-1] + ("a" if secret[-1] != "a" else "b")) is None
    assert services.access_token_by_secret("") is None
    assert services.access_token_by_secret(cast.secret) is None


@pytest.mark.parametrize(
    "options",
    [
        {"scopes": []},
        {"scopes": ["usage:read", "everything"]},
        {"scopes": ["operator:read"]},
        {"scopes": ["usage:read", "operator:write"]},
        {"name": " "},
        {"name": "x" * 101},
        {"expires_at": timezone.now() - timedelta(seconds=1)},
    ],
)
def test_what_is_refused_makes_no_token(options: dict[str, object]) -> None:
    cast = acme()

    with pytest.raises(ValidationError):
        made(cast, **options)

    assert not PersonalAccessToken.objects.exists()
    assert not AuditEntry.objects.filter(action="access_token.created").exists()


def test_only_operators_give_operators_scopes() -> None:
    cast = acme()
    cast.alice.is_staff = True
    services.save_user(user=cast.alice)

    token, _ = made(cast, scopes=list(SCOPES))

    assert token.scopes == list(SCOPES)


def test_a_token_ends_when_it_expires() -> None:
    cast = acme()
    token, secret = made(cast, expires_at=timezone.now() + timedelta(days=1))
    before = services.access_token_by_secret(secret)
    PersonalAccessToken.objects.update(expires_at=timezone.now())

    assert before == token
    assert services.access_token_by_secret(secret) is None


def test_a_token_of_somebody_switched_off_does_not_work() -> None:
    cast = acme()
    _, secret = made(cast)
    cast.alice.is_active = False
    services.save_user(user=cast.alice)

    assert services.access_token_by_secret(secret) is None


def test_a_token_of_a_suspended_organization_waits_until_it_is_back() -> None:
    cast = acme()
    token, secret = made(cast)

    services.set_organizations_status(organizations=[cast.organization], status="suspended")
    suspended = services.access_token_by_secret(secret)
    services.set_organizations_status(organizations=[cast.organization], status="active")

    assert suspended is None
    assert services.access_token_by_secret(secret) == token


def test_a_token_is_of_its_organization_and_goes_with_the_membership() -> None:
    cast = acme()
    bob = services.create_user(email="bob@example.com")
    Membership.objects.create(user=bob, organization=cast.organization, role="owner")
    _, secret = made(cast)
    personal = cast.alice.memberships.get(organization__is_personal=True)
    kept, kept_secret = services.create_access_token(member=personal, name="mine", scopes=["usage:read"])

    services.leave(member=member(cast))

    assert services.access_token_by_secret(secret) is None
    assert services.access_token_by_secret(kept_secret) == kept
    assert list(PersonalAccessToken.objects.all()) == [kept]
    deleted = AuditEntry.objects.get(action="access_token.deleted")
    assert (deleted.organization, deleted.object_name) == (cast.organization, "report")


def test_a_token_without_its_membership_does_not_work() -> None:
    cast = acme()
    _, secret = made(cast)
    Membership.objects.filter(user=cast.alice, organization=cast.organization).delete()

    assert PersonalAccessToken.objects.exists()
    assert services.access_token_by_secret(secret) is None


def test_a_deleted_token_does_not_work() -> None:
    cast = acme()
    token, secret = made(cast)

    services.delete_access_token(token=token)

    assert services.access_token_by_secret(secret) is None


def test_its_use_is_written_at_most_once_a_minute() -> None:
    cast = acme()
    token, _ = made(cast)

    def touched(seconds_ago: int | None) -> bool:
        """Whether a use is written where the last one was so long ago."""
        last = None if seconds_ago is None else timezone.now() - timedelta(seconds=seconds_ago)
        PersonalAccessToken.objects.update(last_used_at=last)
        token.refresh_from_db()
        services.touch_access_token(token=token)
        token.refresh_from_db()
        return token.last_used_at != last

    assert [touched(None), touched(61), touched(59), touched(0)] == [True, True, False, False]


def test_a_use_that_another_process_wrote_is_not_written_again() -> None:
    cast = acme()
    token, _ = made(cast)
    stale = PersonalAccessToken.objects.get(pk=token.pk)
    recent = timezone.now() - timedelta(seconds=5)
    PersonalAccessToken.objects.update(last_used_at=recent)

    services.touch_access_token(token=stale)

    assert PersonalAccessToken.objects.get().last_used_at == recent


def test_nobody_hoards_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.services.access_tokens.MAX_TOKENS", 2)
    cast = acme()
    made(cast)
    made(cast)

    with pytest.raises(ValidationError):
        made(cast)

    assert PersonalAccessToken.objects.count() == 2
