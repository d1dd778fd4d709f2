"""Seeding prices: what is appended, what is left alone, and what is told."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from genai_prices.types import (
    ClauseContains,
    ClauseEquals,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
)

from billing.models import Price
from billing.services import append_price
from channels_app.models import CatalogueModel
from costrouter.setup.prices import Report, seed

D = Decimal


def model(id: str, prices: Any, **more: Any) -> ModelInfo:
    return ModelInfo(id=id, match=ClauseStartsWith(starts_with=id), prices=prices, **more)


def maker(*models: ModelInfo, id: str = "openai", **more: Any) -> Provider:
    return Provider(id=id, name=id.title(), api_pattern="x", models=list(models), **more)


def flat(**prices: str) -> ModelPrice:
    return ModelPrice(**{key: D(usd) for key, usd in prices.items()})


def stored(name: str, tier: str = "standard") -> list[Price]:
    return list(Price.objects.filter(model_name=name, tier=tier).order_by("id"))


def seeded(*models: ModelInfo, **options: Any) -> Report:
    return seed(providers=["openai"], data=[maker(*models)], **options)


@pytest.mark.django_db
def test_seeding_the_package_and_seeding_again() -> None:
    first = seed(models=["gpt-4o-mini", "claude-haiku-4-5", "gpt-4o-mini-2024-07-18"])
    assert [(price.model, price.tier) for price in first.appended] == [
        ("gpt-4o-mini", "standard"),
        ("gpt-4o-mini", "batch"),
        ("gpt-4o-mini", "priority"),
        ("claude-haiku-4-5", "standard"),
        ("claude-haiku-4-5", "batch"),
        ("gpt-4o-mini-2024-07-18", "standard"),
        ("gpt-4o-mini-2024-07-18", "batch"),
        ("gpt-4o-mini-2024-07-18", "priority"),
    ]
    (row,) = stored("gpt-4o-mini")
    assert row.units == {"input": "0.15", "cache_read": "0.075", "output": "0.6", "searches": "0.01"}
    assert (row.source, row.long_context_above, row.long_context_units) == ("genai-prices", None, {})
    assert row.note.startswith("genai-prices 0.2")
    assert "openai/gpt-4o-mini; without storage_searches_kcount 2.5" in row.note

    second = seed(models=["gpt-4o-mini", "claude-haiku-4-5", "gpt-4o-mini-2024-07-18"])
    assert second.appended == []
    assert second.unchanged == ["gpt-4o-mini", "claude-haiku-4-5", "gpt-4o-mini-2024-07-18"]
    assert Price.objects.count() == 8
    assert not CatalogueModel.objects.exists()


@pytest.mark.django_db
def test_a_dry_run_appends_nothing() -> None:
    report = seeded(model("m", flat(input_mtok="1")), dry_run=True, catalogue=True)
    assert [price.units for price in report.appended] == [{"input": "1"}]
    assert report.catalogue == ["m"]
    assert not Price.objects.exists()
    assert not CatalogueModel.objects.exists()


@pytest.mark.django_db
def test_a_changed_price_is_appended_and_the_old_one_stays() -> None:
    seeded(model("m", flat(input_mtok="1", output_mtok="2")))
    assert seeded(model("m", flat(input_mtok="1.00", output_mtok="2.0"))).appended == []
    report = seeded(model("m", flat(input_mtok="0.5", output_mtok="2")))
    assert [price.units for price in report.appended] == [{"input": "0.5", "output": "2"}]
    assert [row.units for row in stored("m")] == [{"input": "1", "output": "2"}, {"input": "0.5", "output": "2"}]


@pytest.mark.django_db
def test_a_unit_that_comes_or_goes_is_a_change() -> None:
    seeded(model("m", flat(input_mtok="1")))
    assert len(seeded(model("m", flat(input_mtok="1", cache_read_mtok="1"))).appended) == 1
    tiered = ModelPrice(input_mtok=TieredPrices(base=D(1), tiers=[Tier(10, D(2))]), cache_read_mtok=D(1))
    assert len(seeded(model("m", tiered)).appended) == 1
    assert stored("m")[-1].long_context_above == 10
    assert stored("m")[-1].long_context_units == {"input": "2"}


@pytest.mark.django_db
def test_an_operators_price_stays_and_gets_no_tiers_at_list_price() -> None:
    append_price(model_name="m", units={"input": "9"})
    info = model(
        "m",
        flat(input_mtok="1"),
        price_variants=[PriceVariant(when={"service_tier": "flex"}, prices=flat(input_mtok="0.5"))],
    )
    report = seeded(info)
    assert report.appended == []
    assert [(remark.model, remark.tier) for remark in report.protected] == [("m", "standard"), ("m", "flex")]
    assert [row.units for row in stored("m")] == [{"input": "9"}]

    report = seeded(info, overwrite_operator=True)
    assert [(price.tier, price.units) for price in report.appended] == [
        ("standard", {"input": "1"}),
        ("flex", {"input": "0.5"}),
    ]
    assert [row.source for row in stored("m")] == ["operator", "genai-prices"]


@pytest.mark.django_db
def test_an_operators_price_that_equals_the_datas_is_left_as_it_is() -> None:
    append_price(model_name="m", units={"input": "1.0"})
    report = seeded(model("m", flat(input_mtok="1")), overwrite_operator=True)
    assert (report.appended, report.protected, report.unchanged) == ([], [], ["m"])


def rising(days: int) -> tuple[ModelInfo, datetime]:
    """A model that costs 1 now and 2 from a day ahead; its batch tier half of that."""
    day: date = timezone.now().date() + timedelta(days=days)
    ahead = StartDateConstraint(start_date=day)
    batch = {"processing": "batch"}
    info = model(
        "m",
        [ConditionalPrice(prices=flat(input_mtok="1")), ConditionalPrice(ahead, prices=flat(input_mtok="2"))],
        price_variants=[
            PriceVariant(when=batch, prices=flat(input_mtok="1"), constraint=ahead),
            PriceVariant(when=batch, prices=flat(input_mtok="0.5")),
        ],
    )
    return info, datetime(day.year, day.month, day.day, tzinfo=UTC)


@pytest.mark.django_db
def test_a_price_announced_for_later_takes_effect_then() -> None:
    info, day = rising(days=5)
    report = seeded(info)
    assert [(p.tier, p.effective_from, p.units["input"]) for p in report.appended] == [
        ("standard", None, "1"),
        ("standard", day.isoformat(), "2"),
        ("batch", None, "0.5"),
        ("batch", day.isoformat(), "1"),
    ]
    assert stored("m")[1].effective_from == day
    assert seeded(info).appended == []


@pytest.mark.django_db
def test_an_announcement_that_is_withdrawn_is_undone() -> None:
    info, day = rising(days=5)
    seeded(info)
    report = seeded(model("m", flat(input_mtok="1")))
    assert [(p.tier, p.effective_from, p.units["input"]) for p in report.appended] == [
        ("standard", day.isoformat(), "1")
    ]
    assert seeded(model("m", flat(input_mtok="1"))).appended == []


@pytest.mark.django_db
def test_an_operators_price_for_later_stays() -> None:
    later = timezone.now() + timedelta(days=3)
    append_price(model_name="m", units={"input": "9"}, effective_from=later)
    info, _ = rising(days=5)
    report = seeded(info)
    assert [(p.tier, p.units["input"]) for p in report.appended] == [("standard", "1"), ("batch", "0.5")]
    first, _ = stored("m")
    assert (first.effective_from, first.units) == (later, {"input": "9"})


@pytest.mark.django_db
def test_of_two_providers_the_maker_prices_its_model() -> None:
    host = maker(model("claude-x", flat(input_mtok="3")), model("gem-1", flat(input_mtok="1")), id="google")
    own = maker(model("claude-x", flat(input_mtok="5")), id="anthropic", model_match=ClauseContains(contains="claude"))
    report = seed(providers=["google", "anthropic"], data=[host, own])
    assert [(p.model, p.units["input"]) for p in report.appended] == [("claude-x", "5"), ("gem-1", "1")]
    assert [(s.name, s.provider, s.reason) for s in report.skipped] == [
        ("claude-x", "google", "anthropic, its maker, lists it")
    ]


@pytest.mark.django_db
def test_two_hosts_of_one_model_are_not_chosen_between() -> None:
    data = [maker(model("llama", flat(input_mtok=usd)), id=id) for id, usd in (("groq", "1"), ("together", "2"))]
    report = seed(providers=None, data=data)
    assert report.appended == []
    assert [skip.reason for skip in report.skipped] == [
        "listed by groq, together, none of which makes it; choose one provider"
    ]
    assert [p.units["input"] for p in seed(providers=["together"], data=data).appended] == ["2"]


@pytest.mark.django_db
def test_deprecated_models_and_mere_patterns_are_skipped_unless_named() -> None:
    old = model("old", flat(input_mtok="1"), deprecated=True)
    pattern = model("ft:m-", flat(input_mtok="2"))
    label = ModelInfo(id="family", match=ClauseEquals(equals="family-latest"), prices=flat(input_mtok="3"))
    report = seeded(old, pattern, label)
    assert report.appended == []
    assert [skip.name for skip in report.skipped] == ["old", "ft:m-", "family"]
    report = seeded(old, pattern, label, models=["old", "ft:m-7:us", "family-latest", "nobody"])
    assert [(p.model, p.units["input"]) for p in report.appended] == [
        ("old", "1"),
        ("ft:m-7:us", "2"),
        ("family-latest", "3"),
    ]
    assert [(skip.name, skip.reason) for skip in report.skipped] == [("nobody", "not in the data of openai")]


@pytest.mark.django_db
def test_variants_without_a_tier_are_told() -> None:
    half, double = flat(input_mtok="0.5"), flat(input_mtok="2")
    variants = [
        PriceVariant(when={"service_tier": "default"}, prices=flat()),
        PriceVariant(when={"service_tier": "priority"}, prices=double),
        PriceVariant(when={"service_tier": "fast"}, prices=double),
        PriceVariant(when={"speed": "fast"}, prices=double),
        PriceVariant(when={"processing": "batch"}, prices=half),
    ]
    report = seeded(model("m", flat(input_mtok="1"), price_variants=variants))
    assert [(p.tier, p.units["input"]) for p in report.appended] == [
        ("standard", "1"),
        ("batch", "0.5"),
        ("priority", "2"),
    ]
    assert [remark.text for remark in report.left_out] == ["speed=fast: none of our tiers stands for such requests"]


@pytest.mark.django_db
def test_a_model_without_a_price_reports_why_and_enters_no_catalogue() -> None:
    report = seeded(model("ocr", flat(input_document_kpages="4")), catalogue=True)
    assert [skip.reason for skip in report.skipped] == ["we have no unit for input_document_kpages"]
    assert (report.appended, report.unchanged, report.catalogue) == ([], [], [])


@pytest.mark.django_db
def test_catalogue_entries_only_where_asked_and_missing() -> None:
    CatalogueModel.objects.create(name="mine", owned_by="me")
    models = [
        model("mine", flat(input_mtok="1"), context_window=8),
        model("new", flat(input_mtok="1"), context_window=128_000, name="New"),
    ]
    assert seeded(*models).catalogue == []
    assert seeded(*models, catalogue=True).catalogue == ["new"]
    new = CatalogueModel.objects.get(name="new")
    assert (new.display_name, new.owned_by, new.context_window, new.max_output) == ("New", "Openai", 128_000, None)
    mine = CatalogueModel.objects.get(name="mine")
    assert (mine.owned_by, mine.context_window) == ("me", None)
