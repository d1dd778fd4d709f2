"""Models: what an organization may use, at which price; the list, its search, and a model's own page."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import httpx
import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Organization
from billing.models import Price
from billing.services import append_price
from channels_app.models import CatalogueModel, Channel, ModelGroup
from channels_app.services import save_channel, save_group, save_model
from costrouter.console.models import kinds_of, tables
from costrouter.members.offers import CHARGED, FITS, Offer, Search, matching, model_offer, model_offers, price_history
from tests.cast.world import World

pytestmark = pytest.mark.any_database

URL = "/console/models/"
NOWHERE = "http://127.0.0.1:9/v1"


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def names(found: list[Offer]) -> list[str]:
    return [offer.name for offer in found]


def add_model(world: World, name: str, takes: list[str], makes: list[str], **prices: str) -> CatalogueModel:
    model = save_model(
        model=CatalogueModel(name=name, input_modalities=takes, output_modalities=makes, owned_by="maker")
    )
    append_price(model_name=name, units=prices)
    return model


@pytest.fixture
def groups(world: World) -> dict[str, ModelGroup]:
    """`cheap` is everybody's at 0.8; `private` is Alice's organization's at 1.25."""
    cheap = save_group(group=ModelGroup(name="cheap", rate=Decimal("0.8")))
    private = save_group(
        group=ModelGroup(name="private", rate=Decimal("1.25"), is_public=False), organizations=[world.organization]
    )
    return {"default": world.group, "cheap": cheap, "private": private}


def test_an_offer_has_its_prices_at_the_rate_of_each_group(world: World, groups: dict[str, ModelGroup]) -> None:
    world.new_channel(NOWHERE, groups=list(groups.values()))

    [offer] = model_offers(organization_id=world.organization.pk)

    assert offer.name == "double-1"
    assert {group.name: group.prices(offer.price.units) for group in offer.groups} == {
        "default": {"input": Decimal("1"), "output": Decimal("2")},
        "cheap": {"input": Decimal("0.8"), "output": Decimal("1.6")},
        "private": {"input": Decimal("1.25"), "output": Decimal("2.5")},
    }


def test_prices_at_a_rate_are_exact(world: World) -> None:
    world.group.rate = Decimal("0.3333")
    save_group(group=world.group)
    append_price(model_name="double-1", units={"input": "0.000000000000000007", "output": "1000000"})
    world.new_channel(NOWHERE)

    [offer] = model_offers(organization_id=world.organization.pk)

    assert offer.groups[0].prices(offer.price.units) == {
        "input": Decimal("0.0000000000000000023331"),
        "output": Decimal("333300"),
    }


def test_only_groups_that_admit_the_organization_offer_anything(world: World, groups: dict[str, ModelGroup]) -> None:
    world.new_channel(NOWHERE, groups=[groups["private"]])

    assert names(model_offers(organization_id=world.organization.pk)) == ["double-1"]
    assert model_offers(organization_id=world.bobs.pk) == []
    assert model_offer(organization_id=world.bobs.pk, name="double-1") is None


def test_what_is_off_unserved_or_unpriced_is_not_offered(world: World) -> None:
    unpriced = world.new_model("unpriced")
    world.new_model("unserved", input="1", output="1")
    off = world.new_model("off", input="1", output="1")
    world.new_channel(NOWHERE, models={world.model: "", unpriced: ""})
    world.new_channel(NOWHERE, name="second", models={off: ""}, status=Channel.Status.DISABLED)
    append_price(model_name="unpriced", units={"input": "1"}, effective_from=timezone.now() + timedelta(hours=1))
    append_price(model_name="unpriced", units={"input": "1"}, tier="flex")

    assert names(model_offers(organization_id=world.organization.pk)) == ["double-1"]


def test_an_offer_is_what_the_relay_lists_for_a_key(world: World, groups: dict[str, ModelGroup], relay) -> None:
    second = world.new_model("double-2", input="3", output="4")
    world.new_channel(NOWHERE, groups=[groups["default"], groups["private"]])
    world.new_channel(NOWHERE, name="second", groups=[groups["private"]], models={second: ""})
    _key, private_secret = world.new_key(group="private")
    relay.settled_down()

    found = model_offers(organization_id=world.organization.pk)

    for group, secret in (("default", world.secret), ("private", private_secret)):
        listed = httpx.get(f"{relay.url}/v1/models", headers={"authorization": f"Bearer {secret}"}, timeout=30).json()
        ours = [offer for offer in found if group in [rate.name for rate in offer.groups]]
        assert [model["id"] for model in listed["data"]] == names(ours)
        for model, offer in zip(listed["data"], ours, strict=True):
            rate = next(rate for rate in offer.groups if rate.name == group)
            per_token = rate.prices(offer.price.units)["output"] / 1_000_000
            assert Decimal(model["pricing"]["completion"]) == per_token


def test_it_takes_five_queries_however_many_models(world: World, django_assert_num_queries) -> None:
    models = {world.new_model(f"more-{n}", input="1", output="2"): "" for n in range(30)}
    world.new_channel(NOWHERE, models=models)

    with django_assert_num_queries(5):
        assert len(model_offers(organization_id=world.organization.pk)) == 30


def test_every_charged_endpoint_knows_which_models_suit_it() -> None:
    assert FITS.keys() == {endpoint.protocol for endpoint in CHARGED}


@pytest.mark.parametrize(
    ("provider", "takes", "makes", "prices", "kinds"),
    [
        ("openai", ["text", "image"], ["text"], {"input": "1", "output": "2"}, ("Chat", "Anthropic", "Gemini")),
        ("anthropic", ["text"], ["text"], {"input": "1", "output": "2"}, ("Chat", "Anthropic", "Gemini")),
        ("openai", ["text"], ["text"], {"input": "1"}, ("Gemini", "Embeddings")),
        ("openai", ["text"], ["image"], {"images": "0.04"}, ("Images",)),
        ("openai", ["audio"], ["text"], {"seconds": "0.0001"}, ("Audio",)),
        ("openai", ["text"], ["audio"], {"characters": "0.015"}, ("Audio",)),
        ("openai", ["text"], ["video"], {"seconds": "0.1"}, ("Video",)),
        ("openai", ["audio", "text"], ["audio", "text"], {"input": "4", "output": "16"}, ("Realtime",)),
        ("cohere", ["text"], ["text"], {"searches": "0.002"}, ("Rerank",)),
        ("anthropic", ["text"], ["image"], {"images": "0.04"}, ()),
    ],
)
def test_the_endpoints_of_a_model_follow_from_prices_modalities_and_providers(
    world: World, provider: str, takes: list[str], makes: list[str], prices: dict[str, str], kinds: tuple[str, ...]
) -> None:
    model = add_model(world, "it", takes, makes, **prices)
    save_channel(
        channel=Channel(name="c", provider=provider, base_url="https://api.example.com"),
        credentials="sk-x",
        groups=[world.group],
        models={model: ""},
    )

    offer = model_offer(organization_id=world.organization.pk, name="it")

    assert offer is not None
    shown = kinds_of(offer)
    assert (shown[-1:] if kinds == ("Realtime",) else shown) == kinds
    assert offer.chats == ("Chat" in shown)


def test_a_search_takes_words_in_any_order_and_every_filter(world: World, groups: dict[str, ModelGroup]) -> None:
    painter = add_model(world, "brush-large", ["text"], ["image"], images="0.04")
    world.new_channel(NOWHERE, models={world.model: "", painter: ""})
    world.new_channel(NOWHERE, name="second", models={painter: ""}, groups=[groups["cheap"]])
    found = model_offers(organization_id=world.organization.pk)

    asked = {
        "all": Search(),
        "words": Search(text="LARGE maker"),
        "nothing": Search(text="large double"),
        "category": Search(category="Images"),
        "modality": Search(modality="image out"),
        "group": Search(group="cheap"),
        "owner": Search(owner="double"),
        "both": Search(category="Chat", group="cheap"),
    }
    assert {name: names(matching(found, search)) for name, search in asked.items()} == {
        "all": ["brush-large", "double-1"],
        "words": ["brush-large"],
        "nothing": [],
        "category": ["brush-large"],
        "modality": ["brush-large"],
        "group": ["brush-large"],
        "owner": ["double-1"],
        "both": [],
    }


def test_the_list_shows_prices_side_by_side_and_htmx_gets_the_list_alone(
    world: World, groups: dict[str, ModelGroup]
) -> None:
    world.new_channel(NOWHERE, groups=list(groups.values()))
    alice = signed_in(world.alice)

    whole, part = alice.get(URL), alice.get(URL, {"q": "double"}, headers={"hx-request": "true"})

    text = whole.content.decode()
    for price in ("$1.00", "$2.00", "$0.80", "$1.60", "$1.25", "$2.50"):
        assert f">{price}</span>" in text
    assert "× 0.8" in text
    assert "<html" in text
    assert "<html" not in part.content.decode()
    assert "double-1" in part.content.decode()


def test_the_list_of_others_does_not_show_a_private_group(world: World, groups: dict[str, ModelGroup]) -> None:
    world.new_channel(NOWHERE, groups=list(groups.values()))

    text = signed_in(world.bob).get(URL).content.decode()

    assert "cheap" in text
    assert "private" not in text


def test_a_search_that_finds_nothing_and_a_site_without_models_say_so(world: World) -> None:
    assert "No models yet" in signed_in(world.alice).get(URL).content.decode()
    world.new_channel(NOWHERE)
    assert "No model matches" in signed_in(world.alice).get(URL, {"q": "unicorn"}).content.decode()


def test_many_models_come_in_pages_that_keep_the_search(world: World) -> None:
    world.new_channel(NOWHERE, models={world.new_model(f"m-{n:03}", input="1", output="2"): "" for n in range(51)})
    alice = signed_in(world.alice)

    first, second = alice.get(URL, {"q": "m-"}), alice.get(URL, {"q": "m-", "page": "2"})

    assert "?q=m-&amp;page=2" in first.content.decode()
    assert [row.offer.name for row in second.context["rows"]] == ["m-050"]


def test_a_models_page_has_every_price_and_its_history(world: World, groups: dict[str, ModelGroup]) -> None:
    world.new_channel(NOWHERE, groups=[groups["cheap"]])
    append_price(
        model_name="double-1",
        units={"input": "1", "cache_read": "0.1", "output": "2"},
        long_context_above=200_000,
        long_context_units={"input": "2"},
    )
    append_price(model_name="double-1", tier="flex", units={"input": "0.5", "output": "1"})
    append_price(model_name="double-1", units={"input": "9"}, effective_from=timezone.now() + timedelta(days=1))

    page = signed_in(world.alice).get(f"{URL}double-1/")

    assert page.status_code == 200
    shown = {
        str(table.title): {line.unit.name: (line.listed, line.at_rates) for line in table.lines}
        for table in tables(page.context["offer"])
    }
    assert shown == {
        "Standard": {
            "input": (Decimal("1"), (Decimal("0.80"),)),
            "cache_read": (Decimal("0.1"), (Decimal("0.08"),)),
            "output": (Decimal("2"), (Decimal("1.60"),)),
        },
        "More than 200,000 input tokens": {
            "input": (Decimal("2"), (Decimal("1.60"),)),
            "cache_read": (Decimal("0.1"), (Decimal("0.08"),)),
            "output": (Decimal("2"), (Decimal("1.60"),)),
        },
        "flex": {"input": (Decimal("0.5"), (Decimal("0.40"),)), "output": (Decimal("1"), (Decimal("0.80"),))},
    }
    states = [
        (price.tier, dict(price.units).get("input"), now, later) for price, now, later in price_history(name="double-1")
    ]
    assert states == [
        ("standard", Decimal("9"), False, True),
        ("flex", Decimal("0.5"), True, False),
        ("standard", Decimal("1"), True, False),
        ("standard", Decimal("1"), False, False),
    ]
    text = page.content.decode()
    assert "http://testserver/v1/chat/completions" in text
    assert "&quot;double-1&quot;" in text
    assert Price.objects.filter(model_name="double-1").count() == 4


def test_a_name_with_slashes_has_a_page(world: World) -> None:
    model = world.new_model("maker/model:free", input="1", output="2")
    world.new_channel(NOWHERE, models={model: ""})
    alice = signed_in(world.alice)

    assert "/console/models/maker/model:free/" in alice.get(URL).content.decode()
    assert alice.get(f"{URL}maker/model:free/").status_code == 200


def test_a_model_of_other_organizations_is_not_there(world: World, groups: dict[str, ModelGroup]) -> None:
    world.new_channel(NOWHERE, groups=[groups["private"]])

    assert signed_in(world.alice).get(f"{URL}double-1/").status_code == 200
    assert signed_in(world.bob).get(f"{URL}double-1/").status_code == 404
    assert signed_in(world.bob).get(f"{URL}unheard-of/").status_code == 404


def test_a_plain_member_reads_the_models_and_a_stranger_signs_in(world: World) -> None:
    team = Organization.objects.create(name="Team")
    Membership.objects.create(organization=team, user=world.bob, role="member")
    world.new_channel(NOWHERE)

    assert signed_in(world.bob).get(URL).status_code == 200
    answer = Client().get(URL)
    assert (answer.status_code, answer["location"]) == (302, "/accounts/login/?next=/console/models/")
