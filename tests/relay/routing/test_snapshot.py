"""The routing snapshot brought up to date piece by piece, as a running process does, is the one loaded afresh."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError

from accounts.changes import changes_since, current_version
from channels_app.models import CatalogueModel, Channel, ModelGroup
from channels_app.services import delete_group, delete_model, save_channel, save_group, save_model
from channels_app.snapshot import RoutingSnapshot, load, refresh

pytestmark = pytest.mark.django_db


@pytest.fixture
def before() -> RoutingSnapshot:
    """A channel of the group `vip` that serves `alpha`, and one of `other` that serves `beta`."""
    for name, group, model in (("one", "vip", "alpha"), ("two", "other", "beta")):
        save_channel(
            channel=Channel(name=name, base_url="https://api.example.com/v1"),
            groups=[save_group(group=ModelGroup(name=group))],
            models={save_model(model=CatalogueModel(name=model)): ""},
        )
    return load()


def kept_up(before: RoutingSnapshot, *steps: Callable[[], object]) -> RoutingSnapshot:
    """The snapshot refreshed after each step, by what the step recorded."""
    for step in steps:
        version = current_version()
        step()
        ids: dict[str, set[int]] = {"channel": set(), "model": set(), "group": set()}
        for _, kind, number in changes_since(version) or ():
            ids[kind].add(int(number))
        before = refresh(before, channel_ids=ids["channel"], model_ids=ids["model"], group_ids=ids["group"])
    return before


def drop_group() -> None:
    delete_group(group=ModelGroup.objects.get(name="vip"))


def make_group() -> None:
    save_group(group=ModelGroup(name="vip"))


def rename_group() -> None:
    group = ModelGroup.objects.get(name="vip")
    group.name = "formerly-vip"
    save_group(group=group)


def drop_model() -> None:
    delete_model(model=CatalogueModel.objects.get(name="alpha"))


def make_model() -> None:
    save_model(model=CatalogueModel(name="alpha"))


def rename_model() -> None:
    model = CatalogueModel.objects.get(name="alpha")
    model.name = "formerly-alpha"
    save_model(model=model)


STEPS = {"group": (drop_group, rename_group, make_group), "model": (drop_model, rename_model, make_model)}


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("first", ["dropped", "renamed"])
@pytest.mark.parametrize("at_once", [False, True])
def test_new_one_of_the_same_name_inherits_no_channel(
    before: RoutingSnapshot, kind: str, first: str, at_once: bool
) -> None:
    drop, rename, make = STEPS[kind]
    steps = [drop if first == "dropped" else rename, make]

    def both() -> None:
        for step in steps:
            step()

    after = kept_up(before, both) if at_once else kept_up(before, *steps)
    assert after == load()
    one, two = sorted(after.channels.values(), key=lambda channel: channel.name)
    assert ("vip" in one.groups, "alpha" in one.models) == (kind != "group", kind != "model")
    assert (two.groups, dict(two.models)) == ({"other"}, {"beta": "beta"})


@pytest.mark.parametrize(
    ("provider", "chosen", "effective"),
    [
        ("openai", [], ("responses", "chat")),
        ("openai", ["chat"], ("chat",)),
        ("openai_compatible", [], ("chat",)),
        ("openai_compatible", ["anthropic", "chat"], ("anthropic", "chat")),
        ("azure_openai", [], ("responses", "chat")),
        ("anthropic", [], ("anthropic",)),
        ("gemini", [], ("gemini",)),
        ("vertex", [], ("gemini", "anthropic")),
        ("bedrock", [], ("bedrock",)),
        ("cohere", [], ()),
        ("cohere", ["chat"], ("chat",)),
        ("jina", [], ()),
    ],
)
def test_dialects_are_those_chosen_else_the_providers(
    provider: str, chosen: list[str], effective: tuple[str, ...]
) -> None:
    channel = save_channel(
        channel=Channel(name="one", provider=provider, base_url="https://api.example.com", dialects=chosen)
    )
    assert load().channels[channel.pk].dialects == effective


@pytest.mark.parametrize(
    ("provider", "chosen", "message"),
    [
        ("anthropic", ["chat"], "has chat, but Anthropic speaks anthropic"),
        ("jina", ["chat"], "has chat, but Jina speaks no conversation"),
        ("openai", ["chat", "chat"], "names one twice"),
        ("openai", "chat", "is a list of names"),
        ("openai", [["chat"]], "is a list of names"),
        ("openai", ["chatter"], "has chatter, but OpenAI speaks responses, chat"),
    ],
)
def test_dialects_that_a_provider_does_not_speak_are_refused(provider: str, chosen: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        save_channel(
            channel=Channel(name="one", provider=provider, base_url="https://api.example.com", dialects=chosen)
        )
    assert not Channel.objects.exists()
