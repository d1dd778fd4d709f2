"""The audit log: every write leaves its entry, in its own transaction, and no secret is in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.utils import timezone

from accounts import audit, services
from accounts.audit_log import OPERATOR, AuditFilter, audit_page
from accounts.audit_words import changes_of
from accounts.models import AuditEntry, Membership, Organization, User
from billing import services as billing
from billing.models import Budget, Hold, LedgerEntry, Price
from billing.settlement import settle
from channels_app import services as channels
from channels_app.models import CatalogueModel, ModelGroup
from costrouter.lib import ids
from tests.cast.admin import SECRET, Acme, acme, operator, staff

pytestmark = pytest.mark.django_db
USD = 1_000_000_000


def entries_of(action: Callable[[], Any]) -> list[AuditEntry]:
    """The entries that an action leaves, the first one first."""
    latest = AuditEntry.objects.order_by("-id").values_list("id", flat=True).first() or 0
    action()
    return list(AuditEntry.objects.filter(pk__gt=latest).order_by("id"))


def member_of(cast: Acme, user: User | None = None, role: str = Membership.Role.MEMBER) -> Membership:
    """Alice's place in Acme, or that of a user who is put there."""
    if user is None:
        return Membership.objects.get(user=cast.alice, organization=cast.organization)
    return Membership.objects.create(user=user, organization=cast.organization, role=role)


def renamed(thing: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(thing, name, value)
    return thing


def bob_of(cast: Acme) -> Membership:
    return member_of(cast, services.create_user(email="bob@example.com"))


def budget_of(cast: Acme) -> Budget:
    return billing.save_budget(budget=Budget(organization=cast.organization, limit_nanos=USD))


def token_of(cast: Acme) -> Any:
    return services.create_access_token(member=member_of(cast), name="report", scopes=["usage:read"])[0]


def invitation_of(cast: Acme) -> Any:
    return services.invite(member=member_of(cast), email="dora@example.com", role="member", site_url="https://x")


# What is prepared, what is done to it, the entry's action, whether it is Acme's, and what it says of the change.
DEEDS: dict[str, tuple[Callable[[Acme], Any], Callable[[Acme, Any], Any], str, bool, dict[str, Any]]] = {
    "key made": (
        lambda cast: None,
        lambda cast, _: services.create_api_key(
            organization=cast.organization, user=cast.alice, name="ci", allowed_models=["gpt-small"]
        ),
        "api_key.created",
        True,
        {"group": [None, "default"], "allowed_models": [None, ["gpt-small"]]},
    ),
    "key changed": (
        lambda cast: cast.key,
        lambda cast, key: services.save_api_key(key=renamed(key, name="desk", allowed_ips=["10.0.0.1"])),
        "api_key.changed",
        True,
        {"name": ["laptop", "desk"], "allowed_ips": [[], ["10.0.0.1"]]},
    ),
    "key disabled": (
        lambda cast: cast.key,
        lambda cast, key: services.set_api_keys_enabled(keys=[key], enabled=False),
        "api_key.disabled",
        True,
        {},
    ),
    "key deleted": (
        lambda cast: cast.key,
        lambda cast, key: services.delete_api_key(key=key),
        "api_key.deleted",
        True,
        {},
    ),
    "token made": (lambda cast: None, lambda cast, _: token_of(cast), "access_token.created", True, {}),
    "token deleted": (
        token_of,
        lambda cast, token: services.delete_access_token(token=token),
        "access_token.deleted",
        True,
        {},
    ),
    "user changed": (
        lambda cast: cast.alice,
        lambda cast, user: services.save_user(user=renamed(user, is_active=False)),
        "user.changed",
        False,
        {"is_active": [True, False]},
    ),
    "password set": (
        lambda cast: cast.alice,
        lambda cast, user: services.set_password(user=user, password="another-password"),
        "user.changed",
        False,
        {"password": ["set", "replaced"]},
    ),
    "organization renamed": (
        lambda cast: cast.organization,
        lambda cast, place: services.save_organization(organization=renamed(place, name="Apex")),
        "organization.changed",
        True,
        {"name": ["Acme", "Apex"]},
    ),
    "organization suspended": (
        lambda cast: cast.organization,
        lambda cast, place: services.set_organizations_status(organizations=[place], status="suspended"),
        "organization.suspended",
        True,
        {},
    ),
    "somebody invited": (
        lambda cast: None,
        lambda cast, _: invitation_of(cast),
        "member.invited",
        True,
        {"role": [None, "member"]},
    ),
    "invitation withdrawn": (
        invitation_of,
        lambda cast, invitation: services.withdraw_invitation(member=member_of(cast), invitation=invitation),
        "member.invitation_deleted",
        True,
        {},
    ),
    "role changed": (
        bob_of,
        lambda cast, bob: services.change_role(actor=member_of(cast), target=bob, role="admin"),
        "member.changed",
        True,
        {"role": ["member", "admin"]},
    ),
    "member removed": (
        bob_of,
        lambda cast, bob: services.remove_member(actor=member_of(cast), target=bob),
        "member.removed",
        True,
        {},
    ),
    "channel changed": (
        lambda cast: cast.channel,
        lambda cast, channel: channels.save_channel(
            channel=renamed(channel, weight=7), credentials="sk-another-secret", models={}
        ),
        "channel.changed",
        False,
        {"weight": [1, 7], "credentials": ["set", "replaced"], "models": [["gpt-small as gpt-small-upstream"], None]},
    ),
    "channel disabled": (
        lambda cast: cast.channel,
        lambda cast, channel: channels.set_channels_status(channels=[channel], status="disabled"),
        "channel.disabled",
        False,
        {},
    ),
    "channel deleted": (
        lambda cast: cast.channel,
        lambda cast, channel: channels.delete_channel(channel=channel),
        "channel.deleted",
        False,
        {},
    ),
    "model made": (
        lambda cast: None,
        lambda cast, _: channels.save_model(model=CatalogueModel(name="gpt-large")),
        "model.created",
        False,
        {},
    ),
    "model changed": (
        lambda cast: cast.model,
        lambda cast, model: channels.save_model(model=renamed(model, context_window=1_000)),
        "model.changed",
        False,
        {"context_window": [128_000, 1_000]},
    ),
    "model deleted": (
        lambda cast: cast.model,
        lambda cast, model: channels.delete_model(model=model),
        "model.deleted",
        False,
        {},
    ),
    "group made": (
        lambda cast: None,
        lambda cast, _: channels.save_group(
            group=ModelGroup(name="eu", is_public=False), organizations=[cast.organization]
        ),
        "group.created",
        False,
        {"rate": [None, "1"], "is_public": [None, False], "organizations": [None, ["Acme"]]},
    ),
    "group deleted": (
        lambda cast: cast.group,
        lambda cast, group: channels.delete_group(group=group),
        "group.deleted",
        False,
        {},
    ),
    "price added": (
        lambda cast: None,
        lambda cast, _: billing.append_price(model_name="gpt-small", units={"input": "0.2", "cache_read": "0.02"}),
        "price.added",
        False,
        {"input": ["0.15", "0.2"], "output": ["0.6", None], "cache_read": [None, "0.02"]},
    ),
    "budget made": (
        lambda cast: None,
        lambda cast, _: budget_of(cast),
        "budget.created",
        True,
        {"limit_nanos": [None, USD], "window": [None, "total"]},
    ),
    "budget changed": (
        budget_of,
        lambda cast, budget: billing.save_budget(budget=renamed(budget, limit_nanos=2 * USD, window="day")),
        "budget.changed",
        True,
        {"limit_nanos": [USD, 2 * USD], "window": ["total", "day"]},
    ),
    "budget deleted": (
        budget_of,
        lambda cast, budget: billing.delete_budget(budget=budget),
        "budget.deleted",
        True,
        {},
    ),
    "wallet credited": (
        lambda cast: None,
        lambda cast, _: billing.adjust(
            wallet=cast.wallet, amount_nanos=5 * USD, reason="paid", actor=cast.alice, idempotency_key="1"
        ),
        "wallet.moved",
        True,
        {"balance_nanos": [0, 5 * USD], "reason": [None, "paid"]},
    ),
    "credit limit": (
        lambda cast: None,
        lambda cast, _: billing.set_credit_limit(
            wallet=cast.wallet, limit_nanos=USD, reason="trusted", actor=cast.alice, idempotency_key="1"
        ),
        "wallet.credit_limit",
        True,
        {"credit_limit_nanos": [0, USD], "reason": [None, "trusted"]},
    ),
}


@pytest.mark.parametrize("name", sorted(DEEDS))
def test_a_write_leaves_one_entry_with_what_it_changed(name: str) -> None:
    cast = acme()
    prepare, deed, action, is_acmes, changes = DEEDS[name]
    thing = prepare(cast)

    [entry] = entries_of(lambda: deed(cast, thing))

    assert entry.action == action
    assert entry.organization_id == (cast.organization.pk if is_acmes else None)
    assert {field: entry.changes.get(field) for field in changes} == changes
    assert entry.object_name != ""
    assert entry.via == "command"


@pytest.mark.parametrize("name", sorted(DEEDS))
def test_what_is_rolled_back_leaves_no_entry(name: str) -> None:
    cast = acme()
    prepare, deed, *_ = DEEDS[name]
    thing = prepare(cast)

    def undone() -> None:
        with transaction.atomic():
            deed(cast, thing)
            transaction.set_rollback(True)

    assert entries_of(undone) == []


def test_every_action_is_in_the_table() -> None:
    with pytest.raises(AssertionError):
        audit.record("key.stolen")
    assert {action for _, _, action, *_ in DEEDS.values()} <= set(audit.ACTIONS)


def test_a_new_user_and_their_organization_leave_an_entry_each() -> None:
    found = entries_of(lambda: services.create_user(email="new@example.com", password="a-long-password"))

    assert [(entry.action, entry.object_name) for entry in found] == [
        ("user.created", "new@example.com"),
        ("organization.created", "new@example.com"),
    ]


def test_a_save_that_changes_nothing_leaves_no_entry() -> None:
    cast = acme()

    def saves() -> None:
        services.save_api_key(key=cast.key)
        services.save_organization(organization=cast.organization)
        services.save_user(user=cast.alice)
        channels.save_channel(channel=cast.channel, groups=[cast.group], models={cast.model: "gpt-small-upstream"})
        channels.save_model(model=cast.model)
        services.set_api_keys_enabled(keys=[cast.key], enabled=True)
        services.change_role(actor=member_of(cast), target=member_of(cast), role="owner")

    assert entries_of(saves) == []


def test_what_is_refused_leaves_no_entry() -> None:
    cast = acme()
    refused: list[Callable[[], Any]] = [
        lambda: services.save_api_key(key=renamed(cast.key, allowed_ips=["nowhere"])),
        lambda: services.change_members(organization=cast.organization, removed=[member_of(cast)]),
        lambda: services.leave(member=member_of(cast)),
        lambda: services.create_access_token(member=member_of(cast), name="x", scopes=["operator:write"]),
        lambda: channels.save_channel(channel=renamed(cast.channel, base_url="http://127.0.0.1/")),
        lambda: billing.append_price(model_name="gpt-small", units={"moons": "1"}),
        lambda: billing.save_budget(budget=Budget(organization=cast.organization, limit_nanos=-1)),
        lambda: billing.adjust(
            wallet=cast.wallet, amount_nanos=1, reason="", actor=cast.alice, idempotency_key="no reason"
        ),
    ]

    def try_all() -> None:
        for action in refused:
            with pytest.raises(ValidationError):
                action()

    assert entries_of(try_all) == []


def test_money_that_a_repeat_does_not_move_leaves_no_entry() -> None:
    cast = acme()
    order = {"wallet": cast.wallet, "amount_nanos": 5, "reason": "paid", "actor": cast.alice, "idempotency_key": "a"}

    first = entries_of(lambda: billing.adjust(**order))
    again = entries_of(lambda: billing.adjust(**order))

    assert ([entry.action for entry in first], again) == (["wallet.moved"], [])
    assert LedgerEntry.objects.filter(wallet=cast.wallet).count() == 1


def test_settlement_leaves_no_entry() -> None:
    cast = acme()
    Hold.objects.create(
        request_id=ids.request_id(),
        wallet=cast.wallet,
        amount_nanos=0,
        captured=True,
        model="gpt-small",
        group="default",
        endpoint="c",
    )

    assert entries_of(settle) == []
    assert not Hold.objects.exists()


def test_no_entry_holds_a_secret() -> None:
    cast = acme()
    old_digest = cast.key.digest
    new_secret = services.rotate_api_key(key=cast.key, overlap=timedelta(hours=1))
    _, token = services.create_access_token(member=member_of(cast), name="t", scopes=["usage:read"])
    channels.save_channel(channel=cast.channel, credentials="sk-another-secret")
    services.set_password(user=cast.alice, password="another-password")
    services.save_user(user=renamed(cast.alice, name="Al"))
    cast.key.refresh_from_db()

    everything = json.dumps(list(AuditEntry.objects.values()), default=str)

    hidden = [cast.secret, new_secret, token, SECRET, "sk-another-secret", "another-password", old_digest]
    hidden += [cast.key.digest, cast.channel.credentials_encrypted, cast.alice.password]
    assert [value for value in hidden if value in everything] == []
    assert new_secret[:11] in everything


def test_entries_cannot_be_changed_or_deleted() -> None:
    acme()
    for attempt in (
        lambda: AuditEntry.objects.update(actor_name="somebody else"),
        lambda: AuditEntry.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            attempt()
    assert not AuditEntry.objects.filter(actor_name="somebody else").exists()


def test_an_operators_page_says_who_acted_and_from_where() -> None:
    cast = acme()
    client = operator()

    client.post(
        "/admin/accounts/organization/",
        {"_selected_action": [cast.organization.pk], "action": "suspend", "index": 0},
        REMOTE_ADDR="198.51.100.7",
    )

    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.via, entry.client_ip) == ("organization.suspended", "admin", "198.51.100.7")
    assert (entry.actor_name, entry.actor) == ("operator@example.com", User.objects.get(email="operator@example.com"))


def test_a_channels_models_changed_on_its_page_are_one_entry_more() -> None:
    cast = acme()
    place = cast.channel.channel_models.get()

    found = entries_of(lambda: channels.change_channel_models(channel=cast.channel, removed=[place]))

    assert [entry.changes for entry in found] == [{"models": [["gpt-small as gpt-small-upstream"], None]}]


def test_an_operators_role_and_what_it_permits_is_in_the_log() -> None:
    client = operator()
    view, change = (Permission.objects.get(codename=f"{verb}_wallet") for verb in ("view", "change"))

    def edit() -> None:
        client.post("/admin/auth/group/add/", {"name": "Support", "permissions": [view.pk]})
        role = Group.objects.get(name="Support")
        client.post(f"/admin/auth/group/{role.pk}/change/", {"name": "Money", "permissions": [change.pk]})
        client.post(f"/admin/auth/group/{role.pk}/delete/", {"post": "yes"})

    found = entries_of(edit)

    assert [(entry.action, entry.object_name) for entry in found] == [
        ("role.created", "Support"),
        ("role.changed", "Money"),
        ("role.deleted", "Money"),
    ]
    assert found[0].changes == {"permissions": [None, ["view_wallet"]]}
    assert found[1].changes == {
        "name": ["Support", "Money"],
        "permissions": [["view_wallet"], ["change_wallet"]],
    }
    assert not Group.objects.exists()


def test_a_password_that_an_operator_sets_is_in_the_log() -> None:
    cast = acme()
    client = operator()

    client.post(
        f"/admin/accounts/user/{cast.alice.pk}/password/",
        {"password1": "correct-horse-9", "password2": "correct-horse-9", "usable_password": "true"},
    )

    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.object_name) == ("user.changed", "alice@example.com")
    assert entry.changes == {"password": ["set", "replaced"]}
    cast.alice.refresh_from_db()
    assert cast.alice.check_password("correct-horse-9")


# The operator's list


def test_the_admins_log_is_filtered_and_searched() -> None:
    cast = acme()
    client = operator()
    services.set_api_keys_enabled(keys=[cast.key], enabled=False)
    base = "/admin/accounts/auditentry/"

    def shown(query: str) -> list[str]:
        return [entry.action for entry in client.get(f"{base}?{query}").context["cl"].result_list]

    assert shown("action=api_key.disabled") == ["api_key.disabled"]
    assert shown("q=laptop") == ["api_key.disabled", "api_key.created"]
    assert set(shown(f"q={cast.key.pk}&action=api_key.created")) == {"api_key.created"}
    assert shown("via__exact=admin") == []
    assert set(shown(f"organization__id__exact={cast.organization.pk}")) == {
        "api_key.disabled",
        "api_key.created",
        "organization.created",
    }


def test_the_admins_log_needs_the_permission() -> None:
    acme()

    assert staff().get("/admin/accounts/auditentry/").status_code == 403
    assert operator().get("/admin/accounts/auditentry/").status_code == 200


def test_an_entrys_page_says_what_changed() -> None:
    cast = acme()
    client = operator()
    services.save_api_key(key=renamed(cast.key, name="desk"))
    entry = AuditEntry.objects.latest("id")

    page = client.get(f"/admin/accounts/auditentry/{entry.pk}/change/").content.decode()

    assert "API key changed" in page
    assert "laptop" in page


# The organization's own pages


def by(user: User | None, via: str, name: str, organization: Organization) -> None:
    with audit.acting(user=user, via=via, client_ip="203.0.113.7"):
        audit.record("api_key.disabled", kind="api_key", name=name, organization=organization)


def test_a_page_is_an_organizations_own_newest_first_and_goes_on_where_it_ended() -> None:
    cast = acme()
    other = services.create_organization(name="Other", owner=cast.alice)
    for number in range(5):
        by(cast.alice, "console", f"key {number}", cast.organization)
        by(cast.alice, "console", f"hidden {number}", other)

    first = audit_page(organization_id=cast.organization.pk, size=3)
    second = audit_page(organization_id=cast.organization.pk, size=3, before=first.before)

    assert [row.object_name for row in first.rows] == ["key 4", "key 3", "key 2"]
    assert [row.object_name for row in second.rows] == ["key 1", "key 0", "laptop"]
    assert audit_page(organization_id=cast.organization.pk, size=3, before=second.before).before is None


def test_operators_are_not_named_and_members_are() -> None:
    cast = acme()
    root = User.objects.create_superuser("root@example.com", "a-long-password")
    by(cast.alice, "console", "by a member", cast.organization)
    by(root, "admin", "by an operator", cast.organization)
    by(root, "api", "by an operator's program", cast.organization)
    by(None, "command", "by a command", cast.organization)

    rows = {row.object_name: row for row in audit_page(organization_id=cast.organization.pk).rows}

    said = {name: (row.who, row.is_operator, row.client_ip) for name, row in rows.items() if name.startswith("by ")}
    assert said == {
        "by a member": ("alice@example.com", False, "203.0.113.7"),
        "by an operator": ("", True, ""),
        "by an operator's program": ("", True, ""),
        "by a command": ("", True, ""),
    }


def test_a_page_is_filtered_by_action_person_and_time() -> None:
    cast = acme()
    root = User.objects.create_superuser("root@example.com", "a-long-password")
    by(cast.alice, "console", "hers", cast.organization)
    by(root, "admin", "theirs", cast.organization)

    def names(**wanted: Any) -> list[str]:
        page = audit_page(organization_id=cast.organization.pk, wanted=AuditFilter(**wanted))
        return [row.object_name for row in page.rows]

    assert names(action="api_key.disabled") == ["theirs", "hers"]
    assert names(who=str(cast.alice.pk)) == ["hers"]
    assert names(who=OPERATOR, action="api_key.disabled") == ["theirs"]
    assert names(who=str(root.pk)) == []  # nobody here may ask which operator it was
    assert names(since=timezone.now() + timedelta(hours=1)) == []


def test_a_filter_looks_through_so_many_entries_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.audit_log.LOOKED_THROUGH", 4)
    cast = acme()  # leaves api_key.created and organization.created behind what follows
    for number in range(4):
        by(cast.alice, "console", f"key {number}", cast.organization)
    wanted = AuditFilter(action="api_key.created")

    first = audit_page(organization_id=cast.organization.pk, wanted=wanted)
    second = audit_page(organization_id=cast.organization.pk, wanted=wanted, before=first.before)

    assert (first.rows, first.looked_through) == ([], True)
    assert [row.object_name for row in second.rows] == ["laptop"]
    assert (second.before, second.looked_through) == (None, False)


def test_changes_are_said_in_words() -> None:
    entry = AuditEntry(
        action="api_key.changed",
        changes={
            "limit_nanos": [None, 1_500_000_000],
            "enabled": [True, False],
            "expires_at": [None, "2026-11-30 12:34:56.789+00:00"],
            "allowed_models": [["a", "b"], []],
            "note": [None, ""],
        },
    )

    said = [(change.label, change.before, change.after) for change in changes_of(entry)]

    assert said == [
        ("limit", "", "$1.50"),
        ("enabled", "yes", "no"),
        ("expires", "", "2026-11-30 12:34 UTC"),
        ("models", "a, b", ""),
    ]


def test_prices_of_another_tier_are_compared_with_their_own_tier() -> None:
    acme()
    billing.append_price(model_name="gpt-small", units={"input": "0.1"}, tier="flex")

    [entry] = entries_of(lambda: billing.append_price(model_name="gpt-small", units={"input": "0.2"}, tier="flex"))

    assert entry.changes == {"input": ["0.1", "0.2"]}
    assert Price.objects.count() == 3
