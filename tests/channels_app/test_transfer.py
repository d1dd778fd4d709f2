"""Channels as a document: exported without secrets, previewed, imported all or none; and copies of channels."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError

from accounts.changes import current_version
from accounts.models import AuditEntry
from billing.models import Price
from channels_app.models import CatalogueModel, Channel, ModelGroup
from channels_app.services import clone_channel, save_group
from channels_app.transfer import export_channels, import_channels, read_document
from costrouter.lib import crypto
from tests.cast.admin import SECRET, acme

pytestmark = pytest.mark.django_db


def document(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"format": "costrouter.channels", "version": 1, "channels": list(entries)}


def secret_of(channel: Channel) -> str:
    encrypted = channel.credentials_encrypted
    return crypto.decrypt(settings.FIELD_ENCRYPTION_KEYS, encrypted) if encrypted else ""


def refused(given: dict[str, Any]) -> list[str]:
    """What is said against a document that changes nothing."""
    before = (Channel.objects.count(), CatalogueModel.objects.count(), current_version(), AuditEntry.objects.count())
    with pytest.raises(ValidationError) as refusal:
        import_channels(document=given)
    after = (Channel.objects.count(), CatalogueModel.objects.count(), current_version(), AuditEntry.objects.count())
    assert after == before
    return refusal.value.messages


def test_an_export_says_everything_but_the_credentials() -> None:
    cast = acme(cost_multiplier=Decimal("0.8000"), priority=3)

    found = export_channels(channels=[cast.channel])

    assert found == document(
        {
            "name": "Main",
            "provider": "openai_compatible",
            "base_url": "https://upstream.example/v1",
            "dialects": [],
            "status": "enabled",
            "priority": 3,
            "weight": 1,
            "cost_multiplier": "0.8",
            "allow_private_addresses": False,
            "connect_timeout": 10.0,
            "first_byte_timeout": 120.0,
            "answer_timeout": 600.0,
            "idle_timeout": 300.0,
            "groups": ["default"],
            "models": {"gpt-small": "gpt-small-upstream"},
            "has_credentials": True,
        }
    )
    assert SECRET not in json.dumps(found)
    assert cast.channel.credentials_encrypted not in json.dumps(found)
    assert not AuditEntry.objects.filter(action="channel.exported").exists()


def test_credentials_leave_only_when_asked_for_and_that_is_audited() -> None:
    cast = acme()

    found = export_channels(channels=[cast.channel], with_credentials=True)

    assert found["channels"][0]["credentials"] == SECRET
    [entry] = AuditEntry.objects.filter(action="channel.exported")
    assert (entry.object_id, entry.object_name) == (str(cast.channel.pk), "Main")
    assert SECRET not in json.dumps(entry.changes)


def test_what_was_exported_is_imported_as_it_was() -> None:
    cast = acme(cost_multiplier=Decimal("0.8"), priority=3, dialects=["chat", "responses"])
    found = json.loads(json.dumps(export_channels(channels=[cast.channel], with_credentials=True)))
    Channel.objects.all().delete()
    CatalogueModel.objects.all().delete()

    plan = import_channels(document=found)

    made = Channel.objects.get()
    assert [(row.name, row.action) for row in plan.channels] == [("Main", "create")]
    assert plan.new_models == ["gpt-small"]
    assert export_channels(channels=[made], with_credentials=True) == found
    assert secret_of(made) == SECRET
    assert list(Price.objects.values_list("pk", flat=True)) == [cast.price.pk]


def test_importing_what_is_there_changes_nothing() -> None:
    cast = acme()
    found = export_channels(channels=[cast.channel], with_credentials=True)
    version, entries = current_version(), AuditEntry.objects.count()

    plan = import_channels(document=found)

    assert [(row.name, row.action, row.changes) for row in plan.channels] == [("Main", "keep", {})]
    assert (current_version(), AuditEntry.objects.count()) == (version, entries)


def test_an_entry_changes_only_what_it_says() -> None:
    cast = acme()
    given = document({"name": "Main", "weight": 7, "models": ["gpt-small", "gpt-large"], "credentials": "sk-new"})

    plan = import_channels(document=given)

    made = Channel.objects.get()
    assert plan.channels[0].changes == {
        "weight": (1, 7),
        "models": ({"gpt-small": "gpt-small-upstream"}, {"gpt-large": "", "gpt-small": ""}),
        "credentials": ("stored", "replaced"),
    }
    assert (made.weight, made.base_url, made.status) == (7, "https://upstream.example/v1", "enabled")
    assert [group.pk for group in made.groups.all()] == [cast.group.pk]
    assert secret_of(made) == "sk-new"
    assert AuditEntry.objects.filter(action="channel.changed", object_name="Main").count() == 1


def test_a_dry_run_shows_what_would_be_and_leaves_everything_as_it_is() -> None:
    acme()
    before = (current_version(), AuditEntry.objects.count())
    given = document({"name": "Main", "weight": 7}, {"name": "Second", "provider": "openai", "models": ["o9"]})

    plan = import_channels(document=given, dry_run=True)

    assert [(row.name, row.action) for row in plan.channels] == [("Main", "change"), ("Second", "create")]
    assert (plan.count("create"), plan.new_models, plan.applied) == (1, ["o9"], False)
    assert list(Channel.objects.values_list("name", "weight")) == [("Main", 1)]
    assert not CatalogueModel.objects.filter(name="o9").exists()
    assert (current_version(), AuditEntry.objects.count()) == before
    assert plan.channels == import_channels(document=given).channels


def test_a_new_channel_without_its_credentials_waits_disabled() -> None:
    given = document(
        {"name": "A", "provider": "openai"},
        {"name": "B", "provider": "openai_compatible", "base_url": "https://b.example/v1", "has_credentials": False},
        {"name": "C", "provider": "openai", "credentials": "sk-c"},
        {"name": "D", "provider": "sandbox"},
    )

    plan = import_channels(document=given)

    assert dict(Channel.objects.values_list("name", "status")) == {
        "A": "disabled",
        "B": "enabled",
        "C": "enabled",
        "D": "enabled",
    }
    assert [bool(row.notes) for row in plan.channels] == [True, False, False, False]
    assert Channel.objects.get(name="A").base_url == "https://api.openai.com/v1"


def test_one_wrong_channel_keeps_all_of_them_out_and_every_mistake_is_named() -> None:
    acme()
    given = document(
        {"name": "Good", "provider": "openai", "models": ["brand-new"]},
        {"name": "Private", "base_url": "http://10.0.0.1/v1"},
        {"name": "Odd", "provider": "nonsense", "weight": "many"},
        {"name": "Grouped", "provider": "openai", "groups": ["default", "vip"]},
    )

    said = refused(given)

    assert any(message.startswith("Private: base_url:") for message in said)
    assert any(message.startswith("Odd: provider:") for message in said)
    assert any(message.startswith("Odd: weight:") for message in said)
    assert "Grouped: There is no group vip: make it first, with its rate." in said
    assert not [message for message in said if message.startswith("Good")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "This is not an export of channels"),
        ({**document({"name": "A"}), "version": 2}, "This is not an export of channels"),
        (document(), "at least one channel"),
        ({**document(), "channels": "A"}, "at least one channel"),
        (document("A"), "Channel 1 has no name"),  # type: ignore[arg-type]
        (document({"name": " A"}), "Channel 1 has no name"),
        (document({"name": "A"}, {"name": "A"}), "A: it is there twice."),
        (document({"name": "A", "colour": "red"}), "A: unknown field colour."),
        (document({"name": "A", "dialects": None}), "A: dialects must not be null."),
        (document({"name": "A\0"}), "cannot store"),
        (document({"name": "A", "provider": "openai", "models": {"x": "\ud800"}}), "cannot store"),
        (document({"name": "A", "provider": "openai", "models": 5}), "A: models: It must be an object"),
        (document({"name": "A", "provider": ["openai"]}), "A: provider:"),
        (document({"name": "A", "provider": "openai", "groups": "default"}), "A: It must be a list of names."),
        (document({"name": "A", "provider": "openai", "credentials": 5}), "A: They must be a text"),
        (document({"name": "A", "provider": "openai", "credentials": "a\nb"}), "A: The credentials are more than"),
        (document({"name": "A", "provider": "openai", "dialects": ["gemini"]}), "A: dialects:"),
        (document({"name": "A" * 101, "provider": "openai"}), "name:"),
        (document(*({"name": f"c{n}"} for n in range(1_001))), "More than 1,000 channels"),
    ],
)
def test_documents_that_are_refused(given: dict[str, Any], said: str) -> None:
    assert any(said in message for message in refused(given))


@pytest.mark.parametrize("text", [b"", b"nonsense", b"[1]", b'{"weight": NaN}', b"\xff", b"[" * 100_000])
def test_files_that_are_no_document(text: bytes) -> None:
    with pytest.raises(ValidationError):
        read_document(text)


def test_a_copy_has_everything_and_is_disabled() -> None:
    cast = acme(priority=4, cost_multiplier=Decimal("0.5"), dialects=["chat"])
    save_group(group=ModelGroup(name="vip"))
    cast.channel.groups.add(ModelGroup.objects.get(name="vip"))

    copy = clone_channel(channel=cast.channel)
    again = clone_channel(channel=cast.channel)
    named = clone_channel(channel=cast.channel, name="Spare")

    assert [copy.name, again.name, named.name] == ["Main (copy)", "Main (copy 2)", "Spare"]
    originals, [found] = (export_channels(channels=[channel])["channels"] for channel in (cast.channel, copy))
    assert found == {**originals[0], "name": "Main (copy)", "status": "disabled"}
    assert secret_of(copy) == SECRET
    assert AuditEntry.objects.filter(action="channel.created", object_name="Main (copy)").count() == 1
    assert Channel.objects.get(pk=cast.channel.pk).status == "enabled"


def test_a_copy_of_a_long_name_fits_and_a_taken_name_is_refused() -> None:
    cast = acme()
    cast.channel.name = "x" * 100
    cast.channel.save()

    copy = clone_channel(channel=cast.channel)

    assert copy.name == "x" * 93 + " (copy)"
    with pytest.raises(ValidationError):
        clone_channel(channel=cast.channel, name=copy.name)
