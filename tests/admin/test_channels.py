"""Channels, models and groups through the admin's forms."""

from __future__ import annotations

import pytest
from django.conf import settings

from accounts.changes import current_version
from accounts.models import ConfigChange
from channels_app.models import CatalogueModel, Channel, ChannelModel, ModelGroup
from channels_app.snapshot import channel_credentials
from costrouter.lib import crypto
from tests.cast.admin import SECRET, Acme, acme, operator, staff

pytestmark = pytest.mark.django_db
CHANNELS = "/admin/channels_app/channel/"


def channel_form(cast: Acme, **given: object) -> dict[str, object]:
    place = cast.channel.channel_models.get()
    return {
        "name": "Main",
        "status": "enabled",
        "provider": "openai_compatible",
        "base_url": "https://upstream.example/v1",
        "credentials": "",
        "groups": [cast.group.pk],
        "priority": 0,
        "weight": 1,
        "cost_multiplier": "1",
        "connect_timeout": "10",
        "first_byte_timeout": "120",
        "idle_timeout": "300",
        "answer_timeout": "600",
        "channel_models-TOTAL_FORMS": 1,
        "channel_models-INITIAL_FORMS": 1,
        "channel_models-0-id": place.pk,
        "channel_models-0-channel": cast.channel.pk,
        "channel_models-0-model": cast.model.pk,
        "channel_models-0-upstream_name": place.upstream_name,
        **given,
    }


def new_channel(cast: Acme, **given: object) -> dict[str, object]:
    form = channel_form(cast, **{"name": "New", "base_url": "", **given})
    return {
        **{name: value for name, value in form.items() if not name.startswith("channel_models-0")},
        "channel_models-TOTAL_FORMS": 0,
        "channel_models-INITIAL_FORMS": 0,
    }


def stored(channel: Channel) -> str:
    channel.refresh_from_db()
    encrypted = channel.credentials_encrypted
    return crypto.decrypt(settings.FIELD_ENCRYPTION_KEYS, encrypted) if encrypted else ""


def test_credentials_are_never_shown_and_stay_when_left_empty() -> None:
    client = operator()
    cast = acme()
    url = f"{CHANNELS}{cast.channel.pk}/change/"

    kept = client.post(url, channel_form(cast, priority=7))
    pages = "".join(client.get(page).content.decode() for page in (url, CHANNELS, f"{CHANNELS}{cast.channel.pk}/test/"))

    assert kept.status_code == 302
    assert stored(cast.channel) == SECRET
    assert Channel.objects.get(pk=cast.channel.pk).priority == 7
    assert SECRET not in pages
    assert cast.channel.credentials_encrypted not in pages


def test_rejected_credentials_are_not_echoed_back() -> None:
    client = operator()
    cast = acme()

    answer = client.post(
        f"{CHANNELS}{cast.channel.pk}/change/", channel_form(cast, credentials="sk-new-secret-1", base_url="ftp://x")
    )

    assert answer.status_code == 200
    assert "sk-new-secret-1" not in answer.content.decode()
    assert stored(cast.channel) == SECRET


def test_credentials_are_replaced_and_cleared() -> None:
    client = operator()
    cast = acme()
    url = f"{CHANNELS}{cast.channel.pk}/change/"

    client.post(url, channel_form(cast, credentials="sk-another"))
    replaced = stored(cast.channel)
    both = client.post(url, channel_form(cast, credentials="sk-third", clear_credentials="on"))
    client.post(url, channel_form(cast, clear_credentials="on"))

    assert replaced == "sk-another"
    assert "clear_credentials" in both.context["adminform"].form.errors
    assert stored(cast.channel) == ""


def test_models_of_a_channel_are_edited_in_place_and_the_relay_is_told_after() -> None:
    client = operator()
    cast = acme()
    other = CatalogueModel.objects.create(name="gpt-large")
    before = current_version()

    client.post(
        f"{CHANNELS}{cast.channel.pk}/change/",
        channel_form(
            cast,
            **{
                "channel_models-TOTAL_FORMS": 2,
                "channel_models-0-upstream_name": "renamed",
                "channel_models-1-channel": cast.channel.pk,
                "channel_models-1-model": other.pk,
                "channel_models-1-upstream_name": "",
            },
        ),
    )

    assert list(cast.channel.channel_models.values_list("model__name", "upstream_name")) == [
        ("gpt-large", ""),
        ("gpt-small", "renamed"),
    ]
    assert current_version() > before
    assert set(ConfigChange.objects.filter(number__gt=before).values_list("kind", "object_id")) == {
        ("channel", str(cast.channel.pk))
    }


def test_a_private_address_is_a_form_error_until_allowed() -> None:
    client = operator()
    cast = acme()
    url = f"{CHANNELS}{cast.channel.pk}/change/"

    refused = client.post(url, channel_form(cast, base_url="http://169.254.169.254/v1"))
    kept = Channel.objects.get(pk=cast.channel.pk).base_url
    there = {"base_url": "http://10.0.0.5/v1", "allow_private_addresses": "on", "credentials": "sk-for-there"}
    allowed = client.post(url, channel_form(cast, **there))

    assert "private address" in refused.context["adminform"].form.errors["base_url"][0]
    assert kept == "https://upstream.example/v1"
    assert allowed.status_code == 302


@pytest.mark.parametrize("given", [{"base_url": "https://elsewhere.example/v1"}, {"provider": "openai"}])
def test_stored_credentials_are_not_sent_to_another_provider_or_host(given: dict[str, str]) -> None:
    client = operator()
    cast = acme()
    url = f"{CHANNELS}{cast.channel.pk}/change/"

    refused = client.post(url, channel_form(cast, **given))
    kept = Channel.objects.get()
    moved = client.post(url, channel_form(cast, base_url="https://upstream.example/v2"))
    client.post(url, channel_form(cast, **given, credentials="sk-for-there"))

    assert refused.context["adminform"].form.errors["credentials"] == [
        "Give them again: those that are stored were for another provider or host."
    ]
    assert (kept.base_url, kept.provider) == ("https://upstream.example/v1", "openai_compatible")
    assert moved.status_code == 302
    changed = Channel.objects.get()
    assert {name: getattr(changed, name) for name in given} == given
    assert channel_credentials(changed) == "sk-for-there"


def test_dialects_are_chosen_and_those_of_another_provider_refused() -> None:
    client = operator()
    cast = acme()
    url = f"{CHANNELS}{cast.channel.pk}/change/"

    client.post(url, channel_form(cast, provider="openai", dialects=["chat", "responses"], credentials="sk-openai"))
    chosen = Channel.objects.get().dialects
    Channel.objects.update(dialects=["chat", "responses"])
    client.post(url, channel_form(cast, provider="openai", dialects=["responses", "chat"]))
    kept = Channel.objects.get().dialects
    refused = client.post(url, channel_form(cast, provider="gemini", dialects=["chat"]))
    client.post(url, channel_form(cast, provider="openai"))

    # In the provider's order, unless an order was there.
    assert (chosen, kept) == (["responses", "chat"], ["chat", "responses"])
    assert refused.context["adminform"].form.errors["dialects"] == [
        "The list of dialects has chat, but Google Gemini speaks gemini."
    ]
    assert Channel.objects.get().dialects == []


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"preset": "deepseek"}, "https://api.deepseek.com/v1"),
        ({"preset": "deepseek", "base_url": "https://api.deepseek.com/v1"}, "https://api.deepseek.com/v1"),
        ({"provider": "anthropic"}, "https://api.anthropic.com"),
        ({"provider": "vertex"}, "https://aiplatform.googleapis.com"),
        ({"provider": "jina", "base_url": "https://proxy.example/v1"}, "https://proxy.example/v1"),
        ({"provider": "sandbox"}, ""),
    ],
)
def test_a_base_url_is_filled_in(given: dict[str, str], url: str) -> None:
    client = operator()
    cast = acme()

    answer = client.post(f"{CHANNELS}add/", new_channel(cast, **given))

    assert answer.status_code == 302
    assert Channel.objects.get(name="New").base_url == url


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({}, "base_url", "must be an http:// or https:// URL"),
        ({"provider": "bedrock"}, "base_url", "must be an http:// or https:// URL"),
        ({"preset": "groq", "base_url": "https://x.example/v1"}, "preset", "Either choose a service"),
        ({"preset": "groq", "provider": "gemini"}, "preset", "choose that provider"),
        ({"provider": "vertex", "credentials": "sk-1"}, "credentials", "not the JSON of a service account"),
    ],
)
def test_what_does_not_fit_is_an_error_of_its_field(given: dict[str, str], field: str, message: str) -> None:
    client = operator()
    cast = acme()

    answer = client.post(f"{CHANNELS}add/", new_channel(cast, **given))

    assert message in " ".join(answer.context["adminform"].form.errors[field])
    assert not Channel.objects.filter(name="New").exists()


def test_channels_are_disabled_and_deleted_through_services() -> None:
    client = operator()
    cast = acme()
    before = current_version()

    client.post(CHANNELS, {"_selected_action": [cast.channel.pk], "action": "disable", "index": 0})
    status = Channel.objects.get(pk=cast.channel.pk).status
    client.post(CHANNELS, {"_selected_action": [cast.channel.pk], "action": "delete_selected", "post": "yes"})

    assert status == "disabled"
    assert not Channel.objects.exists()
    assert current_version() == before + 2


def test_staff_who_may_only_view_channels_change_nothing_and_call_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    cast = acme()
    client = staff("channels_app.view_channel")
    called: list[object] = []
    monkeypatch.setattr("relay.routing.probe.probe_channel", lambda **given: called.append(given))

    answers = [
        client.get(f"{CHANNELS}{cast.channel.pk}/test/").status_code,
        client.post(f"{CHANNELS}{cast.channel.pk}/test/", {"model": "gpt-small"}).status_code,
        client.post(f"{CHANNELS}{cast.channel.pk}/change/", channel_form(cast, credentials="x")).status_code,
        client.post(f"{CHANNELS}{cast.channel.pk}/delete/", {"post": "yes"}).status_code,
    ]
    client.post(CHANNELS, {"_selected_action": [cast.channel.pk], "action": "disable", "index": 0})

    assert answers == [403, 403, 403, 403]
    assert called == []
    assert stored(cast.channel) == SECRET
    assert cast.channel.status == "enabled"


def test_opening_the_test_page_calls_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    client = operator()
    cast = acme()
    called: list[object] = []
    monkeypatch.setattr("relay.routing.probe.probe_channel", lambda **given: called.append(given))

    assert client.get(f"{CHANNELS}{cast.channel.pk}/test/").status_code == 200
    assert client.get(f"{CHANNELS}999/test/").status_code == 404
    assert called == []


def test_a_model_is_saved_with_its_modalities_and_shows_price_and_channels() -> None:
    client = operator()
    cast = acme()
    before = current_version()
    url = f"/admin/channels_app/cataloguemodel/{cast.model.pk}/change/"

    saved = client.post(
        url,
        {
            "name": "gpt-small",
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
            "image_allowance": 4096,
            "audio_allowance": 8192,
            "file_allowance": 65536,
        },
    )
    page = client.get(url).content.decode()
    button = client.get(f"/admin/channels_app/cataloguemodel/{cast.model.pk}/new-price/")

    assert saved.status_code == 302
    assert CatalogueModel.objects.get(pk=cast.model.pk).input_modalities == ["text", "image"]
    assert current_version() == before + 1
    assert "$0.15" in page
    assert "Main" in page
    assert button.headers["Location"] == "/admin/billing/price/add/?model_name=gpt-small"


def test_a_group_is_opened_to_named_organizations_and_deleted() -> None:
    client = operator()
    cast = acme()
    before = current_version()

    client.post(
        "/admin/channels_app/modelgroup/add/",
        {"name": "partners", "rate": "0.9", "organizations": [cast.organization.pk]},
    )
    group = ModelGroup.objects.get(name="partners")
    open_to = list(group.organizations.all())
    client.post(f"/admin/channels_app/modelgroup/{group.pk}/delete/", {"post": "yes"})

    assert open_to == [cast.organization]
    assert not group.is_public
    assert not ModelGroup.objects.filter(name="partners").exists()
    assert [c.kind for c in ConfigChange.objects.filter(number__gt=before)] == ["group", "group"]
    assert ChannelModel.objects.count() == 1


def test_models_are_named_many_at_once_and_new_ones_join_the_catalogue() -> None:
    client = operator()
    cast = acme()
    text = "gpt-small\ngpt-large = large-2026\n\n o9=o9-mini "
    form = new_channel(cast, base_url="https://new.example/v1", new_models=text)
    # The same model once more in the rows below says nothing more.
    row = {"id": "", "channel": "", "model": cast.model.pk, "upstream_name": "other"}
    form |= {"channel_models-TOTAL_FORMS": 1, **{f"channel_models-0-{name}": value for name, value in row.items()}}

    answer = client.post(f"{CHANNELS}add/", form, follow=True)

    made = Channel.objects.get(name="New")
    served = made.channel_models.values_list("model__name", "upstream_name")
    assert sorted(served) == [("gpt-large", "large-2026"), ("gpt-small", ""), ("o9", "o9-mini")]
    assert f'href="{CHANNELS}{made.pk}/test/"' in answer.content.decode()
    page = client.get(f"{CHANNELS}{made.pk}/test/").content.decode()
    assert "/admin/billing/price/add/?model_name=gpt-large" in page
    assert "/admin/billing/price/add/?model_name=gpt-small" not in page


@pytest.mark.parametrize("text", ["= x", "a" * 151, f"a = {'x' * 201}"])
def test_a_line_that_names_no_model_is_refused(text: str) -> None:
    client = operator()
    cast = acme()

    page = client.post(f"{CHANNELS}add/", new_channel(cast, base_url="https://new.example/v1", new_models=text))

    assert page.status_code == 200
    assert "not NAME, or NAME = UPSTREAM NAME." in page.content.decode()
    assert not Channel.objects.filter(name="New").exists()


def test_only_those_who_may_add_to_the_catalogue_name_new_models() -> None:
    cast = acme()
    client = staff("channels_app.add_channel", "channels_app.change_channel", "channels_app.view_channel")

    page = client.post(f"{CHANNELS}add/", new_channel(cast, base_url="https://new.example/v1", new_models="gpt-9"))

    assert "Not in the catalogue: gpt-9." in page.content.decode()
    assert not Channel.objects.filter(name="New").exists()
    assert not CatalogueModel.objects.filter(name="gpt-9").exists()
