"""What an operator does with many channels at once, and files of channels: previewed, sealed, then imported."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.changes import current_version
from accounts.models import AuditEntry
from channels_app.models import CatalogueModel, Channel, ChannelHealth
from channels_app.services import save_channel
from channels_app.transfer import export_channels
from relay.routing.probe import ProbeResult
from tests.cast.admin import SECRET, acme, operator, staff

CHANNELS = "/admin/channels_app/channel/"
IMPORT = f"{CHANNELS}import/"


def act(client: Client, name: str, *channels: Channel, follow: bool = False) -> Any:
    chosen = {"action": name, "_selected_action": [channel.pk for channel in channels]}
    return client.post(CHANNELS, chosen, follow=follow)


def document(*entries: dict[str, Any]) -> str:
    return json.dumps({"format": "costrouter.channels", "version": 1, "channels": list(entries)})


def sealed(page: Any) -> str:
    found = re.search(r'name="sealed" value="([^"]+)"', page.content.decode())
    assert found is not None
    return found[1]


def statuses() -> dict[str, str]:
    return dict(Channel.objects.values_list("name", "status"))


@pytest.mark.django_db
def test_many_are_enabled_and_disabled_and_each_change_is_audited() -> None:
    client, cast = operator(), acme()
    second = save_channel(channel=Channel(name="Second", provider="openai"), groups=[cast.group])

    act(client, "disable", cast.channel, second)
    assert statuses() == {"Main": "disabled", "Second": "disabled"}
    act(client, "enable", second)

    assert statuses() == {"Main": "disabled", "Second": "enabled"}
    entries = AuditEntry.objects.filter(via="admin").values_list("action", "object_name", "actor_name")
    assert sorted(entries) == [
        ("channel.disabled", "Main", "operator@example.com"),
        ("channel.disabled", "Second", "operator@example.com"),
        ("channel.enabled", "Second", "operator@example.com"),
    ]


def test_many_are_tested_and_the_page_says_what_is_wrong_with_which(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, cast = operator(), acme()
    bad = save_channel(channel=Channel(name="Bad", provider="openai"), groups=[cast.group])
    left_out = save_channel(channel=Channel(name="Left out", provider="openai"), groups=[cast.group])

    def probe(*, channel: Channel, model: str) -> ProbeResult:
        if channel.name == "Bad":
            return ProbeResult(False, 31, 401, "gpt-small", "<b>wrong key</b>")
        return ProbeResult(True, 12, 200, "gpt-small", "It said: ready")

    monkeypatch.setattr("relay.routing.probe.probe_channel", probe)

    page = act(client, "test_all", cast.channel, bad)

    text = page.content.decode()
    assert "1 of 2 work" in text
    assert "&lt;b&gt;wrong key&lt;/b&gt;" in text
    assert text.index("wrong key") < text.index("It said: ready")  # what is wrong comes first
    assert "31 ms" in text
    assert left_out.name not in text
    assert dict(ChannelHealth.objects.values_list("channel__name", "last_test_ok")) == {"Main": True, "Bad": False}


@pytest.mark.django_db
def test_too_many_at_once_are_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    client, cast = operator(), acme()
    monkeypatch.setattr("channels_app.admin.bulk.MOST_TESTED", 1)
    monkeypatch.setattr("relay.routing.probe.probe_channel", lambda **_: pytest.fail("it was tested"))
    second = save_channel(channel=Channel(name="Second", provider="openai"), groups=[cast.group])

    assert "At most 1 channels" in act(client, "test_all", cast.channel, second, follow=True).content.decode()


@pytest.mark.django_db
def test_the_test_of_one_channel_is_noted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    client, cast = operator(), acme()
    result = ProbeResult(False, 5, 503, "gpt-small", "overloaded")
    monkeypatch.setattr("relay.routing.probe.probe_channel", lambda **_: result)

    page = client.post(f"{CHANNELS}{cast.channel.pk}/test/", {"model": "gpt-small"})

    assert b"overloaded" in page.content
    found = ChannelHealth.objects.get()
    assert (found.last_test_ok, found.last_test_detail) == (False, "gpt-small: status 503: overloaded")
    assert b"status 503: overloaded" in client.get(f"{CHANNELS}{cast.channel.pk}/change/").content
    assert b"Test failed" in client.get(CHANNELS).content


@pytest.mark.django_db
def test_a_copy_is_disabled_and_leads_to_its_page() -> None:
    client, cast = operator(), acme()

    answer = act(client, "clone", cast.channel)

    copy = Channel.objects.get(name="Main (copy)")
    assert answer.headers["location"] == f"{CHANNELS}{copy.pk}/change/"
    assert statuses() == {"Main": "enabled", "Main (copy)": "disabled"}
    listed = act(client, "clone", cast.channel, copy, follow=True).content.decode()
    assert "Main (copy 2)</a>" in listed
    assert "Main (copy) (copy)</a>" in listed
    assert Channel.objects.filter(status="enabled").get() == cast.channel


@pytest.mark.django_db
def test_an_export_is_a_file_without_credentials() -> None:
    client, cast = operator(), acme()

    answer = act(client, "export", cast.channel)

    assert json.loads(answer.content) == export_channels(channels=[cast.channel])
    assert SECRET.encode() not in answer.content
    assert re.fullmatch(r'attachment; filename="channels-\d{4}-\d\d-\d\d\.json"', answer.headers["content-disposition"])
    assert "no-store" in answer.headers["cache-control"]


@pytest.mark.django_db
def test_credentials_are_exported_by_those_alone_who_may() -> None:
    cast = acme()
    mere = staff("channels_app.view_channel", "channels_app.change_channel", "channels_app.add_channel")

    act(mere, "export_with_credentials", cast.channel)
    assert not AuditEntry.objects.filter(action="channel.exported").exists()
    assert b"export_with_credentials" not in mere.get(CHANNELS).content
    refused = act(mere, "export_with_credentials", cast.channel, follow=True)
    assert SECRET.encode() not in refused.content

    answer = act(operator(), "export_with_credentials", cast.channel)

    assert json.loads(answer.content)["channels"][0]["credentials"] == SECRET
    assert AuditEntry.objects.get(action="channel.exported").actor_name == "operator@example.com"


@pytest.mark.django_db
def test_actions_need_their_permissions() -> None:
    cast = acme()
    viewer = staff("channels_app.view_channel")

    for name in ("enable", "disable", "test_all", "clone", "export_with_credentials"):
        act(viewer, name, cast.channel)

    assert statuses() == {"Main": "enabled"}
    assert not ChannelHealth.objects.exists()
    assert json.loads(act(viewer, "export", cast.channel).content)["channels"][0]["name"] == "Main"
    assert viewer.get(IMPORT).status_code == 403
    assert viewer.post(IMPORT, {"text": document({"name": "New", "provider": "openai"})}).status_code == 403
    assert statuses() == {"Main": "enabled"}


@pytest.mark.django_db
@pytest.mark.parametrize("as_file", [True, False])
def test_an_import_shows_what_it_does_before_it_does_it(as_file: bool) -> None:
    client, _ = operator(), acme()
    text = document(
        {"name": "Main", "weight": 7},
        {"name": "New", "provider": "openai", "models": ["o9"], "credentials": "sk-of-the-file"},
        {"name": "Waits", "provider": "openai"},
    )
    before = current_version()

    given = {"file": SimpleUploadedFile("c.json", text.encode())} if as_file else {"text": text}
    preview = client.post(IMPORT, given)

    shown = preview.content.decode()
    assert statuses() == {"Main": "enabled"}
    assert current_version() == before
    assert "sk-of-the-file" not in shown
    for said in ("created", "changed", "<b>Weight</b>: <del>1</del> → 7", "<b>Models</b>: o9", "Disabled until it has"):
        assert said in shown, said

    done = client.post(IMPORT, {"sealed": sealed(preview)}, follow=True)

    assert "2 created, 1 changed, 0 as they were." in done.content.decode()
    assert statuses() == {"Main": "enabled", "New": "enabled", "Waits": "disabled"}
    assert Channel.objects.get(name="Main").weight == 7
    assert CatalogueModel.objects.filter(name="o9").exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Choose a file, or paste its text."),
        ({"text": "nonsense"}, "This is not JSON"),
        ({"text": document({"name": "New", "provider": "openai", "groups": ["vip"]})}, "There is no group vip"),
        ({"text": document({"name": "New", "provider": "martian"})}, "New: provider"),
        ({"sealed": "forged"}, "That preview is not ours"),
    ],
)
def test_a_wrong_file_changes_nothing_and_says_why(given: dict[str, str], said: str) -> None:
    client, _ = operator(), acme()
    before = current_version()

    page = client.post(IMPORT, given)

    assert page.status_code == 200
    assert said in page.content.decode()
    assert 'name="sealed"' not in page.content.decode()
    assert (statuses(), current_version()) == ({"Main": "enabled"}, before)


@pytest.mark.django_db
def test_what_changed_between_preview_and_import_is_checked_again() -> None:
    client, cast = operator(), acme()
    text = document({"name": "New", "provider": "openai", "groups": ["default"], "credentials": "sk-1"})
    preview = client.post(IMPORT, {"text": text})
    cast.channel.groups.clear()
    cast.group.delete()

    page = client.post(IMPORT, {"sealed": sealed(preview)})

    assert "Nothing was changed. New: There is no group default" in page.content.decode()
    assert statuses() == {"Main": "enabled"}


@pytest.mark.django_db
def test_a_file_that_is_too_large_is_refused() -> None:
    client, _ = operator(), acme()
    large = SimpleUploadedFile("c.json", b"{" + b" " * 1_100_000 + b"}")

    assert "larger than 1 MB" in client.post(IMPORT, {"file": large}).content.decode()


@pytest.mark.django_db
def test_the_list_says_how_channels_do() -> None:
    client, cast = operator(), acme()
    assert b"Unused" in client.get(CHANNELS).content

    recent = [{"at": "2026-11-20T12:34:56.789+00:00", "outcome": "status 429", "model": "gpt-small"}]
    ChannelHealth.objects.create(channel=cast.channel, failures_in_row=4, recent=recent)

    listed = client.get(CHANNELS).content.decode()
    page = client.get(f"{CHANNELS}{cast.channel.pk}/change/").content.decode()
    assert "4 failed" in listed
    assert "status 429" in listed
    assert "2026-11-20 12:34:56" in page
    assert "Its last 4 attempts failed." in page
