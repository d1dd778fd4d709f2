"""Lists over millions of rows: filters without an index look through so many rows at a time, and say how far."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.services import create_organization
from billing.admin import lists
from billing.models import Hold, LedgerEntry, UsageRecord
from billing.services import wallet_of
from tests.cast.admin import Acme, acme, operator, record

pytestmark = pytest.mark.django_db
RECORDS, LEDGER = "/admin/billing/usagerecord/", "/admin/billing/ledgerentry/"


@pytest.fixture(autouse=True)
def _short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST_LOOKED_THROUGH", 4)


def made(cast: Acme, *statuses: str, **given: Any) -> list[str]:
    """Records a minute apart, the first one the oldest."""
    now = timezone.now()
    found = []
    for number, status in enumerate(statuses):
        then = now - timedelta(minutes=len(statuses) - number)
        request_id = f"req_{int(then.timestamp() * 1000):012x}{number:020x}"
        found.append(record(cast, request_id=request_id, created_at=then, status=status, **given).pk)
    return found


def listed(url: str) -> tuple[list[str], Any]:
    found = operator().get(url)
    assert found.status_code == 200, url
    return [row.pk for row in found.context["cl"].result_list], found.context["cl"]


def test_a_filter_without_an_index_goes_back_step_by_step() -> None:
    cast = acme()
    ids = made(cast, "refused", "ok", "ok", "refused", "ok", "ok", "refused", "ok", "ok", "ok")

    first, page = listed(f"{RECORDS}?status__exact=refused")
    assert first == [ids[6]]
    assert page.look["back_to"] == UsageRecord.objects.get(pk=ids[6]).created_at
    assert page.totals["cells"][0]["value"] == "1"

    second, page = listed(RECORDS + page.look["further"])
    assert second == [ids[3]]

    third, page = listed(RECORDS + page.look["further"])
    assert (third, page.look) == ([ids[0]], {"further": None, "back_to": None, "before": True})
    assert b"Everything that is older was looked through." in operator().get(f"{RECORDS}?{'&'.join(_of(page))}").content


def _of(page: Any) -> list[str]:
    return [f"{name}={value}" for name, value in page.params.items()]


def test_filters_with_an_index_do_not_count_as_looking() -> None:
    cast = acme()
    ids = made(cast, *["ok"] * 6)
    made(cast, *["ok"] * 6, organization_id=999, api_key_id=998)

    for query in ("", "period=any", f"organization__id__exact={cast.organization.pk}", f"q={ids[0]}"):
        rows, page = listed(f"{RECORDS}?{query}")
        assert page.look is None, query
        assert set(rows) >= {ids[0]}, query

    # The step is counted among the organization's own.
    rows, page = listed(f"{RECORDS}?organization__id__exact={cast.organization.pk}&status__exact=ok")
    assert rows == ids[:1:-1]
    assert page.look["further"] is not None


def test_a_clients_own_id_is_looked_for_in_steps_and_ours_at_once() -> None:
    cast = acme()
    ids = made(cast, *["ok"] * 6)
    UsageRecord.objects.filter(pk=ids[0]).update(client_request_id="trace-1")

    rows, page = listed(f"{RECORDS}?q=trace-1")
    assert (rows, bool(page.look["further"])) == ([], True)
    rows, _ = listed(RECORDS + page.look["further"])
    assert rows == [ids[0]]
    assert listed(f"{RECORDS}?q={ids[0]}&status__exact=ok")[0] == [ids[0]]


@pytest.mark.parametrize("before", ["nonsense\0", "é", "x" * 4_000, ""])
def test_a_place_that_is_no_id_is_harmless(before: str) -> None:
    ids = made(acme(), "ok", "refused")

    found = operator().get(RECORDS, {"before": before, "status__exact": "refused"})

    assert found.status_code == 200
    assert [row.pk for row in found.context["cl"].result_list] in ([ids[1]], [])


def test_the_ledger_is_looked_through_in_steps_too() -> None:
    cast = acme()
    for number in range(10):
        kind = "debit" if number in (0, 8) else "usage"
        LedgerEntry.objects.create(wallet=cast.wallet, kind=kind, amount_nanos=5, idempotency_key=f"k{number}")

    rows, page = listed(f"{LEDGER}?kind__exact=debit")
    assert [LedgerEntry.objects.get(pk=pk).idempotency_key for pk in rows] == ["k8"]
    rows, page = listed(LEDGER + page.look["further"])
    rows, page = listed(LEDGER + page.look["further"])
    assert [LedgerEntry.objects.get(pk=pk).idempotency_key for pk in rows] == ["k0"]
    assert operator().get(f"{LEDGER}?kind__exact=debit&before=abc").status_code == 200
    assert listed(f"{LEDGER}?wallet__organization__exact={cast.organization.pk}")[1].look is None


def test_ledger_and_holds_are_filtered_by_wallet() -> None:
    cast = acme()
    other = create_organization(name="Globex", owner=cast.alice)
    for organization in (cast.organization, other):
        wallet = wallet_of(organization=organization)
        LedgerEntry.objects.create(
            wallet=wallet, kind="credit", amount_nanos=5, idempotency_key=f"of {organization.name}"
        )
        Hold.objects.create(
            request_id=f"req_{organization.name}", wallet=wallet, amount_nanos=1, model="m", group="g", endpoint="e"
        )
    query = f"wallet__organization__exact={other.pk}"

    [entry], _ = listed(f"{LEDGER}?{query}")
    holds, _ = listed(f"/admin/billing/hold/?{query}")

    assert (LedgerEntry.objects.get(pk=entry).idempotency_key, holds) == ("of Globex", ["req_Globex"])


def test_what_was_added_and_taken_is_summed_up_in_one_query() -> None:
    cast = acme()
    for number, amount in enumerate((100, -30, -7)):
        LedgerEntry.objects.create(wallet=cast.wallet, kind="credit", amount_nanos=amount, idempotency_key=f"k{number}")
    client = operator()
    client.get(LEDGER)

    with CaptureQueriesContext(connection) as queries:
        page = client.get(LEDGER).context["cl"]

    assert [cell["value"] for cell in page.totals["cells"]] == [
        "3",
        "$0.0000001",
        "$0.000000037",
        "$0.000000063",
        "0",
    ]
    assert len(queries) <= 10
    assert page.result_count == 3
