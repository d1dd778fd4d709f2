"""Every page of the admin answers; what it shows of records is right; nobody sees what they may not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import UsageRecord
from tests.cast.admin import acme, operator, record, some_of_everything, staff

pytestmark = pytest.mark.django_db
READ_ONLY = {
    *("auditentry", "usagerecord", "ledgerentry", "hold", "daytotal", "refusaltally", "videotask", "redemptioncode"),
}


def test_every_page_answers_an_operator() -> None:
    client = operator()
    some_of_everything(acme())

    found = {"/admin/": client.get("/admin/").status_code}
    for model in admin.site._registry:
        if model is LogEntry:
            continue
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        first = model._default_manager.order_by("-pk").first()
        found[base] = client.get(base).status_code
        found[f"{base}?q=gpt"] = client.get(f"{base}?q=gpt").status_code
        if model._meta.model_name not in READ_ONLY:
            found[f"{base}add/"] = client.get(f"{base}add/").status_code
        if first is not None:
            found[f"{base}{first.pk}/change/"] = client.get(f"{base}{first.pk}/change/").status_code

    assert {url: status for url, status in found.items() if status != 200} == {}
    assert len(found) > 40


@pytest.mark.parametrize("name", sorted(READ_ONLY))
def test_records_ledger_holds_and_totals_cannot_be_written(name: str) -> None:
    client = operator()
    some_of_everything(acme())
    model = next(m for m in admin.site._registry if m._meta.model_name == name)
    row = model._default_manager.order_by("-pk").first()
    base = f"/admin/{model._meta.app_label}/{name}/"
    before = model._default_manager.values().get(pk=row.pk)

    answers = [
        client.get(f"{base}add/").status_code,
        client.post(f"{base}add/", {}).status_code,
        client.post(f"{base}{row.pk}/change/", {"cost_nanos": 0}).status_code,
        client.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code,
    ]

    assert answers == [403, 403, 403, 403]
    assert model._default_manager.values().get(pk=row.pk) == before


def test_totals_are_those_of_what_the_filters_let_through() -> None:
    client = operator()
    cast = acme()
    record(cast)
    record(cast)
    record(
        cast, status=UsageRecord.Status.REFUSED, cost_nanos=0, upstream_cost_nanos=0, overrun_nanos=0, channel_id=None
    )

    everything = client.get("/admin/billing/usagerecord/").context["cl"].totals["cells"]
    refused = client.get("/admin/billing/usagerecord/?status__exact=refused").context["cl"].totals["cells"]

    assert [cell["value"] for cell in everything] == ["3", "$0.00054", "$0.0004", "$0.00014", "$0.00002"]
    assert [cell["value"] for cell in refused] == ["1", "$0.00", "$0.00", "$0.00", "$0.00"]


def test_the_list_of_records_shows_a_week_until_asked_otherwise() -> None:
    client = operator()
    cast = acme()
    then = timezone.now() - timedelta(days=20)
    old = record(cast, request_id=f"req_{int(then.timestamp() * 1000):012x}70000000000000000001", created_at=then)
    new = record(cast)

    def shown(query: str) -> set[str]:
        return {row.pk for row in client.get(f"/admin/billing/usagerecord/?{query}").context["cl"].result_list}

    assert shown("") == {new.pk}
    assert shown("period=30") == {new.pk, old.pk}
    assert shown("period=any") == {new.pk, old.pk}
    assert shown(f"created_at_from={then:%Y-%m-%d}&created_at_to={then:%Y-%m-%d}") == {old.pk}
    assert shown(f"created_at_to={then - timedelta(days=1):%Y-%m-%d}") == set()
    assert shown(f"q={old.pk}") == {old.pk}
    assert shown("period=nonsense") == {new.pk}


def test_records_of_deleted_organizations_and_keys_are_still_shown() -> None:
    client = operator()
    cast = acme()
    row = record(cast, organization_id=901, user_id=902, api_key_id=903, channel_id=904, price_id=905)

    listed = client.get("/admin/billing/usagerecord/")
    page = client.get(f"/admin/billing/usagerecord/{row.pk}/change/")

    assert [found.pk for found in listed.context["cl"].result_list] == [row.pk]
    for number in ("#901 (deleted)", "#902 (deleted)", "#903 (deleted)"):
        assert number in page.content.decode()


def test_a_records_page_shows_lines_attempts_and_units() -> None:
    client = operator()
    cast = acme()
    row = record(cast, attempts=[{"channel": 77, "name": "First", "outcome": "status 503", "ms": 1200}])

    page = client.get(f"/admin/billing/usagerecord/{row.pk}/change/").content.decode()

    for text in (
        row.pk,
        "$0.00027",
        "$0.15 per million",
        "1,000",
        "status 503",
        "1,200 ms",
        "/channel/77/change/",
        "Acme",
    ):
        assert text in page, text


def test_odd_json_in_a_record_does_not_break_its_page() -> None:
    client = operator()
    row = record(acme(), units=[1], lines=[{"unit": "moons", "quantity": "x"}, 3], attempts=[{"what": None}, "?"])

    assert client.get(f"/admin/billing/usagerecord/{row.pk}/change/").status_code == 200
    assert client.get("/admin/billing/usagerecord/").status_code == 200


def test_a_page_of_records_costs_the_same_queries_however_many_it_shows() -> None:
    client = operator()
    cast = acme()
    record(cast)
    client.get("/admin/billing/usagerecord/")
    with CaptureQueriesContext(connection) as few:
        client.get("/admin/billing/usagerecord/")
    for _ in range(30):
        record(cast)

    with CaptureQueriesContext(connection) as many:
        client.get("/admin/billing/usagerecord/")

    assert len(many) == len(few)
    assert len(many) <= 15


def test_the_overview_shows_todays_figures() -> None:
    client = operator()
    some_of_everything(acme())

    context = client.get("/admin/").context

    figures = {card.title: card.exact or card.value for card in context["figures"]}
    assert (figures["Requests"], figures["Revenue"], figures["Margin"]) == ("3", "$0.000000009", "$0.000000009")
    money = {card.title: card.exact or card.value for card in context["money"]}
    assert (money["Balance of all wallets"], money["Held for requests under way"]) == ("$0.00", "$0.000000007")
    assert context["attention"] == []


def test_the_overview_says_what_keeps_a_model_from_being_served() -> None:
    client = operator()
    cast = acme()
    cast.channel.delete()

    texts = [item["text"] for item in client.get("/admin/").context["attention"]]

    assert "No channel is enabled: nothing can be served." in texts
    assert "gpt-small is served by no enabled channel." in texts


def test_what_a_video_shows_is_not_to_be_read_here() -> None:
    client = operator()
    some_of_everything(acme())

    listed = client.get("/admin/relay/videotask/").content.decode()
    page = client.get("/admin/relay/videotask/video_1/change/").content.decode()

    assert "video_1" in listed
    assert "video_upstream" in page
    assert "a private wish" not in listed + page


def test_staff_without_permissions_see_no_figures_and_no_pages() -> None:
    some_of_everything(acme())
    client = staff()

    overview = client.get("/admin/")

    assert overview.status_code == 200
    assert not [name for name in ("figures", "money", "recent", "attention", "channels") if name in overview.context]
    for model in admin.site._registry:
        if model is not LogEntry:
            base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            assert client.get(base).status_code == 403, base


def test_the_menu_lists_only_what_one_may_view() -> None:
    client = staff("billing.view_usagerecord")

    page = client.get("/admin/").content.decode()

    assert "/admin/billing/usagerecord/" in page
    assert "/admin/channels_app/channel/" not in page


def test_visitors_are_sent_to_the_sign_in_page() -> None:
    assert Client().get("/admin/billing/usagerecord/").status_code == 302


def test_pages_allow_no_inline_script() -> None:
    policy = operator().get("/admin/").headers["Content-Security-Policy"]

    assert "script-src 'self' 'unsafe-eval';" in policy
