"""`/v1/models` and `/v1beta/models`: what a key may use, in the shape of whoever asks."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest

from billing.pricing.rates import PriceInfo
from billing.services import append_price
from channels_app.models import ModelGroup
from channels_app.services import save_group, save_model
from channels_app.snapshot import ModelInfo
from relay.errors import RelayError
from relay.reading.models_list import (
    Offer,
    anthropic_list,
    anthropic_model,
    gemini_list,
    gemini_model,
    openai_model,
    prices,
    shape_by_headers,
)

pytestmark = pytest.mark.any_database

CREATED = 1_790_000_000


def offer(
    name: str,
    *,
    created: int = CREATED,
    rate: str = "1",
    units: dict[str, str] | None = None,
    long_above: int | None = None,
    long_units: dict[str, str] | None = None,
    **known: object,
) -> Offer:
    model = ModelInfo(
        name=name,
        owned_by="",
        context_window=known.get("context_window"),  # type: ignore[arg-type]
        max_output=known.get("max_output"),  # type: ignore[arg-type]
        allowances={},
        hidden_reasoning=False,
        created=created,
        display_name=str(known.get("display_name", "")),
    )
    price = PriceInfo(
        id=1,
        model_name=name,
        tier="standard",
        units={unit: Decimal(usd) for unit, usd in (units or {"input": "1", "output": "2"}).items()},
        long_above=long_above,
        long_units={unit: Decimal(usd) for unit, usd in (long_units or {}).items()},
        effective_from=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Offer(model, price, Decimal(rate))


def named(*names: str) -> list[Offer]:
    """Offers by name; those that come later in the alphabet are older."""
    return [offer(name, created=CREATED - number) for number, name in enumerate(names)]


@pytest.mark.parametrize(
    ("headers", "shape"),
    [
        ({}, "openai"),
        ({b"authorization": b"Bearer x"}, "openai"),
        ({b"x-api-key": b"x"}, "openai"),
        ({b"anthropic-version": b"2023-06-01"}, "anthropic"),
        ({b"x-goog-api-key": b"x"}, "gemini"),
        ({b"x-goog-api-key": b"x", b"anthropic-version": b"2026-10-21"}, "anthropic"),
    ],
)
def test_the_shape_follows_the_version_then_the_key_header(headers: dict[bytes, bytes], shape: str) -> None:
    assert shape_by_headers(headers) == shape


def test_prices_are_exact_usd_for_one_unit_at_the_groups_rate() -> None:
    units = {"input": "0.15", "output": "0.6", "cache_read": "0.0375", "characters": "0.015", "images": "0.04"}
    tiny, huge = "0.000000000000000001", "999999.999999999999999999"

    shown = prices({unit: Decimal(usd) for unit, usd in units.items()}, Decimal("1.5"))

    assert shown == {
        "prompt": "0.000000225",
        "completion": "0.0000009",
        "input_cache_read": "0.00000005625",
        "image_made": "0.06",
        "character": "0.0000225",
    }
    assert prices({"input": Decimal(tiny), "output": Decimal(huge)}, Decimal("9999.9999")) == {
        "prompt": "0.0000000000000000000099999999",
        "completion": "9999.9998999999999999999900000001",
    }
    assert prices({"input": Decimal("0"), "calls": Decimal("100")}, Decimal("1.0000")) == {
        "prompt": "0",
        "request": "100",
    }


def test_openais_model_with_and_without_long_context_prices() -> None:
    plain = openai_model(offer("m"))
    tiered = openai_model(offer("m", rate="2", long_above=200_000, long_units={"input": "3"}, context_window=1_000_000))

    assert plain == {
        "id": "m",
        "object": "model",
        "created": CREATED,
        "owned_by": "costrouter",
        "name": "m",
        "context_length": None,
        "max_output_tokens": None,
        "architecture": {"input_modalities": ("text",), "output_modalities": ("text",)},
        "pricing": {"prompt": "0.000001", "completion": "0.000002"},
    }
    assert tiered["long_context"] == {
        "above_input_tokens": 200_000,
        "pricing": {"prompt": "0.000006", "completion": "0.000004"},
    }
    assert tiered["pricing"] == {"prompt": "0.000002", "completion": "0.000004"}


def test_anthropics_model() -> None:
    shown = anthropic_model(offer("m", display_name="The M", context_window=200_000, max_output=64_000))

    assert shown == {
        "type": "model",
        "id": "m",
        "display_name": "The M",
        "created_at": "2026-09-21T14:13:20Z",
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": None,
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": None,
    }


@pytest.mark.parametrize(
    ("query", "names", "more"),
    [
        ({"limit": ["1000"]}, "abcde", False),
        ({}, "abcde", False),
        ({"limit": ["5"]}, "abcde", False),
        ({"limit": ["2"]}, "ab", True),
        ({"limit": ["2"], "after_id": ["b"]}, "cd", True),
        ({"limit": ["2"], "after_id": ["c"]}, "de", False),
        ({"after_id": ["e"]}, "", False),
        ({"limit": ["2"], "before_id": ["e"]}, "cd", True),
        ({"limit": ["2"], "before_id": ["c"]}, "ab", False),
        ({"limit": ["2"], "before_id": ["a"]}, "", False),
        ({"lifecycle": ["deprecated", "active"]}, "abcde", False),
        ({"lifecycle[]": ["retired"]}, "", False),
    ],
)
def test_anthropics_pages_are_the_newest_first(query: dict[str, list[str]], names: str, more: bool) -> None:
    page = anthropic_list(named("a", "b", "c", "d", "e"), query)

    assert "".join(model["id"] for model in page["data"]) == names
    assert (page["has_more"], page["first_id"], page["last_id"]) == (
        more,
        names[0] if names else None,
        names[-1] if names else None,
    )


def test_a_page_of_anthropics_is_20_unless_it_is_asked_for() -> None:
    many = named(*(f"m{number:04}" for number in range(1_100)))

    assert len(anthropic_list(many, {})["data"]) == 20
    assert len(anthropic_list(many, {"limit": ["5000"]})["data"]) == 1_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", value) for value in ("0", "-1", "x", "1e3", "٣", "9" * 5_000)),
        ("after_id", "nobody"),
        ("before_id", "\udc80"),
    ],
)
def test_a_bad_page_of_anthropics_is_refused(name: str, value: str) -> None:
    with pytest.raises(RelayError) as caught:
        anthropic_list(named("a"), {name: [value]})
    assert (caught.value.code, caught.value.param) == ("invalid_request", name)


def test_geminis_model_says_what_may_be_asked_of_it() -> None:
    chat = gemini_model(offer("m", display_name="The M", context_window=1_000, max_output=100))
    embedding = gemini_model(offer("e", units={"input": "0.1"}))

    assert chat == {
        "name": "models/m",
        "version": "1",
        "displayName": "The M",
        "inputTokenLimit": 1_000,
        "outputTokenLimit": 100,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
    }
    assert embedding == {
        "name": "models/e",
        "version": "1",
        "displayName": "e",
        "supportedGenerationMethods": ["embedContent", "batchEmbedContents"],
    }
    assert gemini_model(offer("i", units={"images": "1"}))["supportedGenerationMethods"] == []


def test_geminis_pages_lead_through_every_model_once_though_one_goes_meanwhile() -> None:
    found = named("a", "b/ü", "c", "d", "e")
    first = gemini_list(found, {"pageSize": ["2"]})
    second = gemini_list(
        [o for o in found if o.model.name != "b/ü"], {"pageSize": ["2"], "pageToken": [first["nextPageToken"]]}
    )
    third = gemini_list(found, {"pageSize": ["2"], "pageToken": [second["nextPageToken"]]})

    assert [[m["name"] for m in page["models"]] for page in (first, second, third)] == [
        ["models/a", "models/b/ü"],
        ["models/c", "models/d"],
        ["models/e"],
    ]
    assert "nextPageToken" not in third
    assert "nextPageToken" not in gemini_list(found, {"pageSize": ["5"]})


@pytest.mark.parametrize(
    ("name", "value"), [("pageSize", "0"), ("pageSize", "two"), ("pageToken", "%%%"), ("pageToken", "_w==")]
)
def test_a_bad_page_of_geminis_is_refused(name: str, value: str) -> None:
    with pytest.raises(RelayError) as caught:
        gemini_list(named("a"), {name: [value]})
    assert (caught.value.code, caught.value.param) == ("invalid_request", name)


def test_each_client_gets_its_shape_and_only_what_its_key_may_use_now(world, upstream, relay) -> None:
    world.model.display_name, world.model.input_modalities = "Double One", ["text", "image"]
    save_model(model=world.model)
    others = {name: world.new_model(name, input="3") for name in ("elsewhere", "off", "unchosen")}
    unpriced = world.new_model("unpriced")
    later = world.new_model("later")
    append_price(model_name="later", units={"input": "1"}, effective_from=datetime(2099, 1, 1, tzinfo=UTC))
    gold = save_group(group=ModelGroup(name="gold", rate=Decimal("2.5")))
    chosen = {world.model: "", unpriced: "", later: "", others["unchosen"]: ""}
    world.new_channel(upstream.url, models=chosen, groups=[gold])
    world.new_channel(upstream.url, name="else", models={others["elsewhere"]: ""})
    world.new_channel(upstream.url, name="off", models={others["off"]: ""}, groups=[gold], status="disabled")
    models = ["double-1", "elsewhere", "off", "unpriced", "later"]
    _, secret = world.new_key(group="gold", allowed_models=models)
    relay.settled_down()

    def get(path: str, **headers: str) -> httpx.Response:
        return httpx.get(relay.url + path, headers=headers, timeout=20)

    openai = get("/v1/models", authorization=f"Bearer {secret}").json()
    anthropic = get("/v1/models?limit=1000", **{"x-api-key": secret, "anthropic-version": "2023-06-01"}).json()
    gemini = get("/v1/models?pageSize=10", **{"x-goog-api-key": secret}).json()
    [shown] = openai["data"]
    assert openai["object"] == "list"
    assert (shown["id"], shown["owned_by"], shown["context_length"]) == ("double-1", "double", 8_000)
    assert shown["architecture"] == {"input_modalities": ["text", "image"], "output_modalities": ["text"]}
    assert shown["pricing"] == {"prompt": "0.0000025", "completion": "0.000005"}
    assert [model["display_name"] for model in anthropic["data"]] == ["Double One"]
    assert (anthropic["has_more"], anthropic["first_id"], anthropic["last_id"]) == (False, "double-1", "double-1")
    assert [model["name"] for model in gemini["models"]] == ["models/double-1"]

    # /v1beta is Gemini's whatever the headers say; one model has the shape that it has in a list.
    assert get(f"/v1beta/models?key={secret}").json() == gemini
    assert get("/v1beta/models/double-1", authorization=f"Bearer {secret}").json() == gemini["models"][0]
    assert get("/v1/models/double-1", authorization=f"Bearer {secret}").json() == shown
    one = get("/v1/models/double-1", **{"x-api-key": secret, "anthropic-version": "2023-06-01"}).json()
    assert one == anthropic["data"][0]
    bearer = {"authorization": f"Bearer {secret}"}
    refusals = {"elsewhere": 403, "off": 503, "unpriced": 400, "later": 400, "unchosen": 403, "nobody": 404}
    assert {name: get(f"/v1/models/{name}", **bearer).status_code for name in refusals} == refusals
    assert get("/v1beta/models?pageSize=0", **bearer).json()["error"]["status"] == "INVALID_ARGUMENT"
    assert world.records() == [] and upstream.seen == []
