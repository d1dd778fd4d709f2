"""What `{% load ui %}` writes: amounts, counts, times, small parts, charts."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django import forms
from django.template import Context, Template, TemplateSyntaxError
from django.utils import timezone

from costrouter.console.menu import MENU
from costrouter.lib import charts
from costrouter.templatetags import ui

USD = 1_000_000_000


def rendered(template: str, **context: object) -> str:
    return Template("{% load ui %}" + template).render(Context(context))


@pytest.mark.parametrize(
    ("nanos", "exact", "short"),
    [
        (0, "$0.00", "$0.00"),
        (1_234_500_000, "$1.2345", "$1.23"),
        (1_235_000_000, "$1.235", "$1.24"),
        (1_234 * USD, "$1,234.00", "$1,234.00"),
        (12_300_000, "$0.0123", "$0.0123"),
        (12_345_678, "$0.012345678", "$0.0123"),
        (6_000_000, "$0.006", "$0.0060"),
        (999_950_000, "$0.99995", "$1.00"),
        (100_000, "$0.0001", "$0.0001"),
        (27_949, "$0.000027949", "$0.000028"),
        (7, "$0.000000007", "$0.000000007"),
        (-27_949, "-$0.000027949", "-$0.000028"),
        (-1_500_000_000, "-$1.50", "-$1.50"),
        (None, "–", "–"),
    ],
)
def test_amounts(nanos: int | None, exact: str, short: str) -> None:
    assert (ui.usd(nanos), ui.usd_short(nanos)) == (exact, short)


@pytest.mark.parametrize(
    ("price", "text"),
    [("0.0250", "$0.025"), ("1200", "$1,200.00"), ("3", "$3.00"), ("0.000000000000000001", "$0.000000000000000001")],
)
def test_prices_keep_every_decimal(price: str, text: str) -> None:
    assert ui.usd_price(Decimal(price)) == text


@pytest.mark.parametrize(("rate", "text"), [("1.0000", "1"), ("0.8000", "0.8"), ("10", "10"), ("0", "0")])
def test_rates_have_no_zeros_at_their_end(rate: str, text: str) -> None:
    assert ui.plain(Decimal(rate)) == text


@pytest.mark.parametrize(
    ("number", "long", "short"),
    [(0, "0", "0"), (9_999, "9,999", "9,999"), (12_500, "12,500", "12.5 k"), (1_234_567, "1,234,567", "1.2 M")],
)
def test_counts(number: int, long: str, short: str) -> None:
    assert (ui.count(number), ui.count_short(number)) == (long, short)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (None, "–"),
        (512, "512"),
        (8_192, "8 k"),
        (65_536, "64 k"),
        (128_000, "128 k"),
        (1_048_576, "1 M"),
        (2_500, "2.5 k"),
    ],
)
def test_sizes_of_models(tokens: int | None, text: str) -> None:
    assert ui.size_short(tokens) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(0, "0 ms"), (840, "840 ms"), (1_240, "1.24 s"), (64_000, "1 min 4 s"), (None, "–")]
)
def test_spans_of_time(milliseconds: int | None, text: str) -> None:
    assert ui.ms(milliseconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(1, "100%"), (0, "0%"), (0.9912, "99.12%"), (0.99999, "> 99.99%"), (0.00001, "< 0.01%"), (None, "–")],
)
def test_only_all_is_a_hundred_per_cent(share: float | None, text: str) -> None:
    assert ui.percent(share) == text


def test_times_are_in_utc_and_said_to_be() -> None:
    at = datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC)
    elsewhere = at.astimezone(timezone.get_fixed_timezone(120))

    shown = rendered("{% when at %}|{% when at 'seconds' %}|{% when nothing %}", at=elsewhere, nothing=None)

    minutes, seconds, nothing = shown.split("|")
    assert minutes == '<time datetime="2026-11-03T04:05:06Z" title="2026-11-03 04:05:06 UTC">2026-11-03 04:05</time>'
    assert ">2026-11-03 04:05:06</time>" in seconds
    assert nothing == "–"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "just now"), (200, "3 min ago"), (7_300, "2 h ago"), (86_500, "1 day ago"), (-90_000_0, "in 10 days")],
)
def test_how_long_ago(seconds: int, text: str) -> None:
    assert ui.ago(timezone.now() - timedelta(seconds=seconds)) == text
    assert ui.ago(None) == "never"


def test_every_icon_of_the_menu_is_in_the_sprite() -> None:
    icons = {item.icon for _title, items in MENU for item in items} | set(ui.CATEGORY_ICONS.values())

    assert icons <= ui.icon_names()
    assert "img/icons.svg#key" in rendered("{% icon 'key' %}")
    assert 'aria-hidden="true"' in rendered("{% icon 'key' %}")
    assert 'aria-label="Key"' in rendered("{% icon 'key' 'Key' %}")


def test_an_icon_or_a_tone_that_is_not_there_is_a_mistake_of_the_template() -> None:
    with pytest.raises(TemplateSyntaxError, match="no symbol"):
        rendered("{% icon 'unicorn' %}")
    with pytest.raises(TemplateSyntaxError, match="tone"):
        rendered("{% badge 'x' 'loud' %}")


def test_what_is_copied_and_said_is_escaped() -> None:
    shown = rendered("{% copy text %}{% badge text 'ok' %}", text='"><script>')

    assert "<script>" not in shown
    assert 'data-copy="&quot;&gt;&lt;script&gt;"' in shown
    assert '<span class="badge badge-ok">&quot;&gt;&lt;script&gt;</span>' in shown


class _Form(forms.Form):
    name = forms.CharField(help_text="Shown to others.")
    note = forms.CharField(required=False)
    on = forms.BooleanField(required=False)
    kinds = forms.MultipleChoiceField(choices=[("a", "A")], widget=forms.CheckboxSelectMultiple, required=False)


def test_a_field_has_a_label_and_names_its_help_and_errors() -> None:
    shown = rendered("{% field form.name %}", form=_Form({"name": ""}))

    assert '<label for="id_name">Name</label>' in shown
    assert 'aria-describedby="id_name_helptext id_name_error"' in shown
    assert '<div class="help" id="id_name_helptext">Shown to others.</div>' in shown
    assert re.search(r'<div class="error" id="id_name_error"><p>This field is required.</p></div>', shown)


def test_optional_fields_say_so_and_choices_are_a_fieldset() -> None:
    form = _Form()

    assert "optional" in rendered("{% field form.note %}", form=form)
    assert "optional" not in rendered("{% field form.name %}", form=form)
    assert '<label for="id_on"><input type="checkbox" name="on" id="id_on">' in rendered(
        "{% field form.on %}", form=form
    )
    assert "<legend>Kinds" in rendered("{% field form.kinds %}", form=form)


def test_the_title_of_a_page_is_its_heading_too() -> None:
    page = Template('{% extends "layouts/auth.html" %}{% block title %}Keys & {{ name }}{% endblock %}')

    text = page.render(Context({"name": "<locks>"}))

    assert "<title>Keys & &lt;locks&gt; · CostRouter</title>" in text
    assert "<h1>Keys & &lt;locks&gt;</h1>" in text


# Charts


@pytest.mark.parametrize(
    ("highest", "steps"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (3, [0, 1, 2, 3]),
        (7, [0, 2, 4, 6, 8]),
        (10, [0, 5, 10]),
        (100, [0, 25, 50, 75, 100]),
        (101, [0, 50, 100, 150]),
    ],
)
def test_ticks_are_round_and_reach_the_highest(highest: int, steps: list[int]) -> None:
    assert charts.ticks(highest) == steps


def test_bars_are_as_high_as_their_values_and_lie_on_one_another() -> None:
    chart = charts.bar_chart(
        [("a", [50, 50]), ("b", [0, 25]), ("c", [0, 0])], series=["x", "y"], write=str, write_tick=str
    )

    room = charts.BASE - charts.TOP
    first, second, third = chart.bars
    assert [(part.series, float(part.y), float(part.height), part.top) for part in first.parts] == [
        (1, charts.BASE - room / 2, room / 2, False),
        (2, charts.TOP, room / 2, True),
    ]
    assert [(part.series, float(part.height)) for part in second.parts] == [(2, room / 4)]
    assert third.parts == ()
    assert first.said == "a: 100\nx 50\ny 50"
    assert chart.rows == (("a", ("50", "50")), ("b", ("0", "25")), ("c", ("0", "0")))
    assert chart.legend == ((1, "x"), (2, "y"))


def test_bars_stay_within_the_width_and_a_month_has_few_labels() -> None:
    chart = charts.bar_chart([(str(n), [n]) for n in range(30)], series=["x"], write=str, write_tick=str)

    assert all(float(bar.x) >= 0 and float(bar.x) + float(bar.width) <= 100 for bar in chart.bars)
    labels = [bar.label for bar in chart.bars if bar.label]
    assert len(labels) <= charts.MOST_LABELS
    assert labels[-1] == "29", "the last day is what people look for"


def test_what_is_little_is_seen() -> None:
    chart = charts.bar_chart([("a", [10**9]), ("b", [1])], series=["x"], write=str, write_tick=str)

    assert float(chart.bars[1].parts[0].height) == 1


def test_a_chart_of_uneven_rows_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="one value for each"):
        charts.bar_chart([("a", [1, 2])], series=["x"], write=str, write_tick=str)


def test_bars_have_a_table_of_the_same_numbers() -> None:
    rows = [(date(2026, 11, 2), 1_500_000_001), (date(2026, 11, 3), 0)]

    shown = rendered('{% bars rows title="Spend" unit="usd" %}', rows=rows)

    assert '<th scope="row">Nov 2</th><td class="num">$1.500000001</td>' in shown
    assert '<th scope="row">Nov 3</th><td class="num">$0.00</td>' in shown
    assert "<title>Nov 2: $1.500000001</title>" in shown
    assert "style=" not in shown


def test_ranks_are_as_long_as_their_share_of_the_first() -> None:
    shown = rendered('{% ranks rows unit="usd" %}', rows=[("a<b", 4 * USD, "/x/"), ("c", USD), ("d", 0)])

    assert re.findall(r'class="series-1" width="([\d.]+)%"', shown) == ["100.00", "25.00", "0.00"]
    assert '<a href="/x/">a&lt;b</a>' in shown
    assert '<td class="num" title="$4.00">$4.00</td>' in shown
