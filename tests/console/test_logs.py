"""The pages of Usage Logs: whose requests, filters, one request's arithmetic, the live tail, and CSV that streams."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import ApiKey, Membership, User
from accounts.services import create_api_key, create_user
from billing.models import Hold, Price, RefusalTally, UsageRecord
from billing.pricing.rates import compile_rates
from billing.reports import logs
from billing.selectors import price_info
from billing.services import append_price
from costrouter.console.logs import csv as log_csv
from costrouter.lib.ids import request_id_at
from costrouter.lib.units import UNITS
from relay.error_help import HELP, RECORD_HELP
from relay.errors import ERRORS
from tests.cast.waiting import eventually
from tests.cast.world import World
from tests.conftest import RelayServer

START = datetime(2026, 11, 1, tzinfo=UTC)


class Site:
    """Alice owns an organization, Carol is a plain member with a key; both are signed in."""

    def __init__(self) -> None:
        self.world = World()
        self.organization = self.world.organization
        self.carol = create_user(email="carol@example.com")
        Membership.objects.create(organization=self.organization, user=self.carol, role="member")
        self.key = self.world.key
        self.carols_key = create_api_key(organization=self.organization, user=self.carol, name="Carol's")[0]
        self.alice, self.carols = self.signed_in(self.world.alice), self.signed_in(self.carol)
        self.number = 0

    def signed_in(self, user: User) -> Client:
        client = Client()
        client.force_login(user)
        session = client.session
        session["organization"] = self.organization.pk
        session.save()
        return client

    def record(self, key: ApiKey | None = None, **given: Any) -> UsageRecord:
        """A record, a second newer than the last; `at`: when it was made instead."""
        self.number += 1
        key = key or self.key
        at = given.pop("at", START + timedelta(seconds=self.number))
        values: dict[str, Any] = {
            "request_id": f"{request_id_at(at)}{self.number:020x}",
            "created_at": at,
            "organization_id": key.organization_id,
            "user_id": key.user_id,
            "api_key_id": key.pk,
            "endpoint": "chat.completions",
            "model": "double-1",
            "group": "default",
            "status": "ok",
            "http_status": 200,
        }
        return UsageRecord.objects.create(**{**values, **given})

    def charged(self, price: Price, units: dict[str, int], rate: str = "1", **given: Any) -> UsageRecord:
        """A record as the relay charges these units at a price."""
        rates = compile_rates(price_info(price), Decimal(rate))
        return self.record(
            units=units,
            lines=json.loads(rates.lines_json(units)),
            cost_nanos=given.pop("cost_nanos", rates.cost_nanos(units)),
            price_id=price.pk,
            rate=Decimal(rate),
            model=price.model_name,
            **given,
        )


@pytest.fixture
def site(db: None) -> Site:
    return Site()


@pytest.fixture
def open_site(transactional_db: None) -> Site:
    """A site whose rows other threads see."""
    return Site()


def text(response: Any) -> str:
    content: str = response.content.decode()
    return content


def shown(response: Any) -> list[str]:
    """The ids of a table's rows."""
    return re.findall(r'<tr id="(req_[0-9a-f:]+)"', text(response))


def plain(response: Any) -> str:
    """A page's words without its markup."""
    return " ".join(re.sub(r"<[^>]*>", " ", text(response)).split())


URL = "/console/logs/"


def test_an_admin_sees_every_request_and_a_member_their_own(site: Site) -> None:
    alices, carols = site.record(), site.record(site.carols_key, status="refused", error_code="key_disabled")
    site.record(site.world.bobs_key)

    assert shown(site.alice.get(URL)) == [carols.pk, alices.pk]
    assert shown(site.carols.get(URL)) == [carols.pk]
    assert "key_disabled" in text(site.carols.get(URL))
    assert 'title="alice@example.com"' in text(site.alice.get(URL))
    assert 'title="alice@example.com"' not in text(site.carols.get(URL))


def test_requests_of_others_are_not_there(site: Site) -> None:
    alices, bobs = site.record(), site.record(site.world.bobs_key)
    Hold.objects.create(request_id="req_h", wallet_id=site.world.bobs.pk, amount_nanos=1, user_id=site.world.bob.pk)

    for client, request_id in ((site.alice, bobs.pk), (site.carols, alices.pk), (site.alice, "req_h")):
        assert client.get(reverse("console:log", args=[request_id])).status_code == 404
        answer = client.get(URL, {"request_id": request_id})
        assert answer.status_code == 200 and "There is no request" in text(answer)
    # Neither by a filter: their key is no choice here.
    answer = site.carols.get(URL, {"key": str(site.key.pk)})
    assert shown(answer) == [] and "not one of the available choices" in text(answer)
    assert shown(site.alice.get(URL, {"key": str(site.world.bobs_key.pk)})) == []
    assert site.carols.get(reverse("console:log-export"), {"key": str(site.key.pk)}).status_code == 400
    assert shown(site.carols.get(URL, {"user": str(site.world.alice.pk)})) == []


def test_strangers_are_asked_to_sign_in(site: Site) -> None:
    record = site.record()
    for url in (URL, f"{URL}tail/", f"{URL}export/", f"{URL}{record.pk}/"):
        answer = Client().get(url)
        assert answer.status_code == 302 and "next=" in answer.headers["Location"]
        assert Client().post(url).status_code == 302
        assert site.alice.post(url).status_code == 405


def test_a_request_id_leads_to_its_request(site: Site) -> None:
    record = site.record(site.carols_key)

    assert site.carols.get(URL, {"request_id": f" {record.pk} "}).headers["Location"] == f"{URL}{record.pk}/"


def test_filters_and_pages_walk_through_everything_once(site: Site) -> None:
    rows = [site.record(model="a" if number % 2 else "b", status="ok") for number in range(120)]
    there = [row.pk for row in reversed(rows) if row.model == "a"]

    found: list[str] = []
    url = f"{URL}?model=a&status=ok"
    while url:
        answer = site.alice.get(url)
        found += shown(answer)
        site.record(model="a")  # newer than every page
        older = re.search(r'rel="next" href="([^"]*)"', text(answer))
        url = URL + older[1].replace("&amp;", "&") if older else ""
    assert found == there


def test_the_way_back_to_newer_requests_ends_at_the_first_page(site: Site) -> None:
    rows = [site.record() for _ in range(120)]
    ids = [row.pk for row in reversed(rows)]

    third = site.alice.get(URL, {"before": ids[99]})
    assert shown(third) == ids[100:]
    newer = re.search(r'rel="prev" href="([^"]*)"', text(third))
    assert newer is not None
    second = site.alice.get(URL + newer[1])
    assert shown(second) == ids[50:100]
    newer = re.search(r'rel="prev" href="([^"]*)"', text(second))
    assert newer is not None
    first = site.alice.get(URL + newer[1], follow=True)
    assert first.redirect_chain == [(f"{URL}?", 302)]
    assert shown(first) == ids[:50]


def test_every_filter_of_the_form_is_heard(site: Site) -> None:
    now = timezone.now()
    site.record(at=now - timedelta(days=2))
    found = site.record(
        site.carols_key,
        at=now - timedelta(minutes=5),
        model="m",
        endpoint="embeddings",
        status="cancelled",
        streamed=True,
        cost_nanos=2_000_000_000,
    )
    for query in (
        {"period": "1h"},
        {"period": "between", "start": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M}", "end": "2099-01-01T00:00"},
        {"key": str(site.carols_key.pk)},
        {"model": "m"},
        {"status": "cancelled"},
        {"endpoint": "embeddings"},
        {"user": str(site.carol.pk)},
        {"streamed": "yes"},
        {"min_cost": "2"},
    ):
        assert shown(site.alice.get(URL, query)) == [found.pk], query
    answer = site.alice.get(URL, {"min_cost": "a lot"})
    assert shown(answer) == [] and "A filter cannot be read" in text(answer)
    assert "No request matches" in text(site.alice.get(URL, {"model": "unknown"}))
    assert "A filter cannot be read" in text(site.alice.get(URL, {"model": "unknown\x00"}))


@pytest.mark.parametrize("page", ["logs", "log-tail", "log-export"])
@pytest.mark.parametrize("times", [{"start": "0001-01-01"}, {"end": "9999-12-31T23:59"}, {"end": "0001-01-05"}])
def test_a_time_beyond_every_calendar_is_an_error_of_the_form(site: Site, page: str, times: dict[str, str]) -> None:
    answer = site.alice.get(reverse(f"console:{page}"), {"period": "between", **times})

    assert answer.status_code == (400 if page == "log-export" else 200)


def test_a_deleted_key_can_still_be_asked_for(site: Site) -> None:
    record = site.record(site.carols_key)
    ApiKey.objects.filter(pk=site.carols_key.pk).update(deleted_at=timezone.now())

    answer = site.carols.get(URL, {"key": str(site.carols_key.pk)})

    assert shown(answer) == [record.pk] and "Carol&#x27;s" in text(answer)


def test_a_look_that_finds_little_offers_to_look_further(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_LOOKED_THROUGH", 3)
    rare = site.record(model="rare")
    for _ in range(5):
        site.record()

    first = site.alice.get(URL, {"model": "rare"})
    further = re.search(r'rel="next" href="([^"]*)"', text(first))
    assert further is not None and "Look further back" in text(first) and "Nothing found so far" in text(first)
    assert shown(site.alice.get(URL + further[1].replace("&amp;", "&"))) == [rare.pk]


def test_what_is_under_way_and_what_was_only_counted_is_said(site: Site) -> None:
    for number, user in enumerate((site.carol, site.carol, site.world.alice)):
        Hold.objects.create(
            request_id=f"req_{number}",
            wallet_id=site.organization.pk,
            amount_nanos=5_000_000,
            user_id=user.pk,
            model="m",
        )
    RefusalTally.objects.create(
        api_key=site.carols_key,
        organization=site.organization,
        minute=timezone.now(),
        error_code="rate_limit_exceeded",
        count=1234,
    )

    assert "3 requests are in progress" in plain(site.alice.get(URL))
    page = plain(site.carols.get(URL))
    assert "2 requests are in progress" in page
    assert "1,234 more requests of the key Carol&#x27;s were refused" in page
    running = plain(site.carols.get(f"{URL}req_1/"))
    assert "still running" in running and "$0.005" in running
    assert site.carols.get(f"{URL}req_2/").status_code == 404
    assert site.carols.get(URL, {"request_id": "req_1"}).status_code == 302


# One request


def test_the_arithmetic_of_a_cost_is_shown_to_the_last_digit(site: Site) -> None:
    price = append_price(model_name="m", units={"input": "0.0375", "output": "0.6", "cache_read": "0.0075"})
    record = site.charged(price, {"input": 1, "cache_read": 3, "output": 1_234_567}, rate="1.5")

    page = plain(site.alice.get(f"{URL}{record.pk}/"))

    assert "Input tokens 1 $0.0375 per million $0.0000000375" in page
    assert "Cached input tokens 3 $0.0075 per million $0.0000000225" in page
    assert "Output tokens 1,234,567 $0.6 per million $0.7407402" in page
    assert "Sum $0.74074026" in page
    assert "× 1.5, the rate of the group default $1.11111039" in page
    assert "Charged $1.11111039" in page
    assert record.cost_nanos == 1_111_110_390


def test_what_is_special_about_a_charge_is_said(site: Site) -> None:
    price = append_price(
        model_name="m",
        units={"input": "1", "output": "1"},
        long_context_above=100,
        long_context_units={"input": "2"},
    )
    rounded = site.charged(price, {"input": 101}, rate="0.0007", overrun_nanos=7, held_nanos=3)
    capped = site.charged(price, {"input": 50}, estimated=True, cost_nanos=40_000, held_nanos=40_000)

    page = plain(site.alice.get(f"{URL}{rounded.pk}/"))
    assert "Its 101 input tokens are more than 100: the long-context prices apply" in page
    assert "$0.0000001414" in page
    assert "Rounded once, half up, to a billionth of a dollar $0.000000141" in page
    assert "It cost $0.000000007 more than the $0.000000003 that were held" in page
    page = plain(site.alice.get(f"{URL}{capped.pk}/"))
    assert "Estimated: no more than was held is charged $0.00004" in page
    assert "these counts are our own" in page
    assert "long-context" not in page


def test_a_failed_request_says_why_it_costs_nothing_and_where_it_went(site: Site) -> None:
    record = site.record(
        status="upstream_error",
        http_status=502,
        error_code="upstream_timeout",
        units={"output": 12},
        attempts=[
            {"channel": 1, "name": "East", "outcome": "timeout", "ms": 30_000},
            {"channel": 2, "name": "West", "outcome": "status 529", "ms": 210},
        ],
        first_byte_ms=900,
        duration_ms=31_000,
    )

    page = plain(site.alice.get(f"{URL}{record.pk}/"))

    assert "a request that fails upstream costs nothing" in page
    assert str(HELP["upstream_timeout"].means) in page and str(HELP["upstream_timeout"].do) in page
    assert "East timeout 30 s West status 529 210 ms" in page
    assert "Output tokens 12 Counted, and not charged." in page
    assert "until the first byte 900 ms" in page


@pytest.mark.parametrize("status", ["ok", "refused", "cancelled", "interrupted", "upstream_error"])
def test_every_status_has_its_page(site: Site, status: str) -> None:
    record = site.record(status=status, http_status=0, api_key_id=None, user_id=None, model="", lines=[])

    answer = site.alice.get(f"{URL}{record.pk}/")

    assert answer.status_code == 200 and "Nothing was charged" in text(answer)


def test_every_error_has_an_explanation() -> None:
    assert HELP.keys() == ERRORS.keys()
    for found in (*HELP.values(), *RECORD_HELP.values()):
        assert all(str(words).strip() for words in (found.title, found.means, found.do))


def test_what_a_client_sent_is_text_and_not_markup(site: Site) -> None:
    record = site.record(model="<img src=x>", client_request_id="<b>", attempts=[{"name": "<i>", "outcome": "<u>"}])

    for url in (URL, f"{URL}{record.pk}/"):
        page = text(site.alice.get(url))
        assert "<img src=x>" not in page and "<u>" not in page and "&lt;img src=x&gt;" in page


# The live tail


def test_the_tail_answers_only_when_something_changed(site: Site) -> None:
    first = site.record()
    page = text(site.alice.get(URL))
    mark = re.search(r'data-mark="([0-9a-f]+)"', page)
    assert mark is not None
    tail = f"{URL}tail/"
    assert site.alice.get(tail, {"seen": mark[1]}).status_code == 204

    late = site.record(at=START)  # began before the first, and ended after it
    answer = site.alice.get(tail, {"seen": mark[1]})
    assert shown(answer) == [first.pk, late.pk]
    assert site.alice.get(tail, {"seen": answer.headers["X-Mark"]}).status_code == 204

    UsageRecord.objects.filter(pk=late.pk).update(status="interrupted")
    assert site.alice.get(tail, {"seen": answer.headers["X-Mark"]}).status_code == 200
    assert shown(site.carols.get(tail)) == []


# CSV


def exported(site: Site, user: User, query: dict[str, str] | None = None) -> tuple[Any, bytes]:
    """An export as ASGI serves it."""
    cookies = site.signed_in(user).cookies

    async def ask() -> tuple[Any, bytes]:
        client = AsyncClient()
        client.cookies = cookies
        answer: Any = await client.get(f"{URL}export/", query or {})
        return answer, b"".join([part async for part in answer.streaming_content])

    return async_to_sync(ask)()


def test_an_export_holds_every_row_to_the_byte(open_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site = open_site
    monkeypatch.setattr(log_csv, "CHUNK", 2)
    now = timezone.now().replace(microsecond=0)
    ApiKey.objects.filter(pk=site.carols_key.pk).update(name='=cmd("x")')
    rows = [site.record(site.carols_key, at=now - timedelta(minutes=number), model=f"m{number}") for number in range(4)]
    first = site.record(
        site.carols_key,
        at=now,
        model="-1+2",
        status="refused",
        http_status=429,
        error_code="rate_limit_exceeded",
        streamed=True,
        units={"input": 5, "output": 7},
        cost_nanos=1_234_567_891,
        rate=Decimal("1.5"),
        first_byte_ms=0,
        duration_ms=12,
        client_ip="203.0.113.7",
        client_request_id="@SUM(A1)",
    )
    site.record()  # Alice's
    site.record(site.carols_key, at=now - timedelta(days=31))  # before the last 30 days

    answer, content = exported(site, site.carol)

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="usage-[\d-]+\.csv"', answer.headers["Content-Disposition"])
    units = ",".join(str({"input": 5, "output": 7}.get(name, 0)) for name in UNITS)
    lines = content.split(b"\r\n")
    assert lines[0] == b"\xef\xbb\xbf" + ",".join(log_csv.COLUMNS).encode()
    assert lines[1].decode() == (
        f'{first.pk},{now:%Y-%m-%dT%H:%M:%S}.000Z,"\'=cmd(""x"")",carol@example.com,chat.completions,\'-1+2,default,'
        f"refused,429,rate_limit_exceeded,yes,no,{units},1.5,1.234567891,0,12,203.0.113.7,'@SUM(A1)"
    )
    read = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [row["request_id"] for row in read] == [first.pk, *(row.pk for row in rows)]
    assert [row["cost_usd"] for row in read[1:]] == ["0.000000000"] * 4


def test_an_export_holds_what_the_filters_let_through(open_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site = open_site
    monkeypatch.setattr(log_csv, "CHUNK", 3)
    monkeypatch.setattr(logs, "MOST_LOOKED_THROUGH", 4)
    now = timezone.now()
    rows = [
        site.record(at=now - timedelta(minutes=30 - number), model="a" if number % 9 == 0 else "b")
        for number in range(30)
    ]

    _answer, content = exported(site, site.world.alice, {"model": "a", "period": "24h"})

    read = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [row["request_id"] for row in read] == [row.pk for row in reversed(rows) if row.model == "a"]


def test_an_export_streams(relay: RelayServer, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows reach the client while the next are not even read."""
    monkeypatch.setattr(log_csv, "CHUNK", 5)
    go_on, asked = threading.Event(), []
    walk = log_csv.walk

    def slow(*args: Any, **options: Any) -> Any:
        asked.append(options["before"])
        if len(asked) == 2:
            assert go_on.wait(10)
        return walk(*args, **options)

    monkeypatch.setattr(log_csv, "walk", slow)
    now = timezone.now()
    for number in range(12):
        at = now - timedelta(seconds=number)
        UsageRecord.objects.create(
            request_id=f"{request_id_at(at)}{number:020x}",
            created_at=at,
            organization=world.organization,
            api_key=world.key,
            user=world.alice,
            status="ok",
        )
    client = Client()
    client.force_login(world.alice)
    cookies = {"sessionid": client.cookies["sessionid"].value}

    with httpx.stream("GET", f"{relay.url}{URL}export/", cookies=cookies, timeout=20) as answer:
        parts = answer.iter_text()
        got = ""
        while got.count("\r\n") < 6:  # the names and five rows
            got += next(parts)
        eventually(lambda: len(asked) == 2)
        go_on.set()
        got += "".join(parts)

    assert got.count("\r\n") == 13
    assert len(asked) == 3


# Cost of the pages themselves


def test_pages_take_few_queries(site: Site) -> None:
    price = append_price(model_name="m", units={"input": "1"})
    rows = [site.charged(price, {"input": 5}) for _ in range(60)]
    for client in (site.alice, site.carols):
        for url in (URL, f"{URL}?model=m&period=24h&status=ok", f"{URL}tail/"):
            with CaptureQueriesContext(connection) as queries:
                assert client.get(url).status_code == 200
            assert len(queries) <= 20, [query["sql"] for query in queries]
    with CaptureQueriesContext(connection) as queries:
        assert site.alice.get(f"{URL}{rows[0].pk}/").status_code == 200
    assert len(queries) <= 20
