"""Redemption codes: each is money once, for whoever comes first; the ledger and the audit log say so."""

from __future__ import annotations

import csv
import io
import re
from contextlib import suppress
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone

from accounts import audit
from accounts.models import AuditEntry, Membership
from accounts.services import create_organization, create_user
from billing import redemption
from billing.models import LedgerEntry, RedemptionBatch, RedemptionCode, Wallet
from billing.reconciliation import reconcile
from billing.redemption import codes_of, create_batch, disable_batch, enable_batch, plain_code, redeem
from tests.cast.admin import operator, staff
from tests.cast.money import in_threads
from tests.cast.world import USD


@pytest.fixture(autouse=True)
def _no_guesses():
    cache.clear()


@pytest.fixture
def alice(db) -> Membership:
    """The owner of an organization that never had money."""
    return Membership.objects.get(user=create_user(email="alice@example.com", password="x"))


def codes(count: int = 1, **given) -> list[str]:
    batch = create_batch(**{"name": "Spring", "amount_nanos": 5 * USD, "count": count, **given})
    return [str(row.code) for row in codes_of(batch)]


def refusal(member: Membership, code: str) -> str:
    with pytest.raises(ValidationError) as raised:
        redeem(member=member, code=code)
    return raised.value.error_list[0].code


def balance(member: Membership) -> int:
    return sum(Wallet.objects.filter(pk=member.organization_id).values_list("balance_nanos", flat=True))


def test_codes_look_as_promised_and_are_stored_hashed_and_encrypted(alice):
    made = codes(200)

    assert len(set(made)) == 200
    alphabet = set("".join(made)) - {"-"}
    assert all(re.fullmatch(r"CR(-[0-9A-HJKMNP-TV-Z]{4}){4}", code) for code in made)
    assert not alphabet & set("ILOU")
    assert len(alphabet) == 32
    stored = " ".join(f"{row.digest} {row.code_encrypted}" for row in RedemptionCode.objects.all())
    assert not any(code in stored or code.removeprefix("CR-").replace("-", "") in stored for code in made)


def test_a_code_is_money_in_the_wallet_the_ledger_and_the_audit_log(alice):
    [code, other] = codes(2)

    with audit.acting(user=alice.user, via="console"):
        nanos = redeem(member=alice, code=code)

    assert nanos == 5 * USD
    assert balance(alice) == 5 * USD
    entry = LedgerEntry.objects.get()
    row = RedemptionCode.objects.exclude(claimed_at=None).get()
    assert (entry.kind, entry.amount_nanos, entry.wallet_id) == ("redemption", 5 * USD, alice.organization_id)
    assert (entry.idempotency_key, entry.actor, entry.note) == (f"redemption:{row.pk}", alice.user, "Spring")
    assert (row.claimed_by, row.claimed_by_user) == (alice.organization, alice.user)
    log = AuditEntry.objects.get(action="wallet.redeemed")
    assert (log.actor, log.organization, log.object_kind) == (alice.user, alice.organization, "wallet")
    assert log.changes == {"amount_nanos": [None, 5 * USD], "code": [None, f"Spring #{row.pk}"]}
    assert reconcile()["breaches"] == []
    assert other != code


def test_a_code_works_once(alice):
    [code] = codes()
    redeem(member=alice, code=code)

    assert refusal(alice, code) == "used"

    assert balance(alice) == 5 * USD
    assert LedgerEntry.objects.count() == 1


@pytest.mark.parametrize(
    "spelt",
    [
        "{0}",
        "  {0}\n",
        "{lower}",
        "{bare}",
        "cr {bare}",
        "{spaced}",
        "{misread}",
    ],
)
def test_codes_are_read_however_people_type_them(alice, monkeypatch, spelt):
    monkeypatch.setattr(redemption, "new_code", lambda: "CR-0123-4567-89AB-CDEF")
    [code] = codes()
    bare = code.removeprefix("CR-").replace("-", "")
    typed = spelt.format(
        code, lower=code.lower(), bare=bare, spaced=bare.replace("4", " 4 "), misread=bare.replace("01", "oL")
    )

    assert redeem(member=alice, code=typed) == 5 * USD


@pytest.mark.parametrize(
    "text", ["", "CR-", "CR-0123", "CR-0123-4567-89AB-CDEU", "CR-0123-4567-89AB-CDEF-0", "😀" * 16]
)
def test_what_cannot_be_a_code_is_unknown(alice, text):
    assert plain_code(text) is None
    assert refusal(alice, text) == "unknown"


def test_an_unknown_code_changes_nothing(alice):
    codes()

    assert refusal(alice, "CR-0000-0000-0000-0000") == "unknown"

    assert not RedemptionCode.objects.exclude(claimed_at=None).exists()
    assert balance(alice) == 0


def test_an_expired_code(alice):
    [code] = codes(expires_at=timezone.now() + timedelta(hours=1))
    RedemptionBatch.objects.update(expires_at=timezone.now())

    assert refusal(alice, code) == "expired"

    assert (balance(alice), RedemptionCode.objects.get().claimed_at) == (0, None)


def test_a_code_of_a_disabled_batch_until_it_is_enabled(alice):
    [code] = codes()
    batch = RedemptionBatch.objects.get()

    assert disable_batch(batch=batch) is True
    assert disable_batch(batch=batch) is False
    assert refusal(alice, code) == "disabled"
    assert balance(alice) == 0
    assert enable_batch(batch=batch) is True
    assert redeem(member=alice, code=code) == 5 * USD

    changes = list(
        AuditEntry.objects.filter(action="redemption.changed").order_by("id").values_list("changes", flat=True)
    )
    assert changes == [{"disabled": [False, True]}, {"disabled": [True, False]}]


def test_a_used_code_says_so_even_when_its_batch_is_over(alice):
    [code] = codes(expires_at=timezone.now() + timedelta(hours=1))
    redeem(member=alice, code=code)
    RedemptionBatch.objects.update(expires_at=timezone.now(), disabled=True)

    assert refusal(alice, code) == "used"


def test_a_plain_member_may_not(alice):
    [code] = codes()
    alice.role = Membership.Role.MEMBER

    with pytest.raises(PermissionDenied):
        redeem(member=alice, code=code)

    assert RedemptionCode.objects.get().claimed_at is None


def test_where_the_wallet_is_full_the_code_stays_good(alice):
    [code] = codes(amount_nanos=2_000_000_000 * USD)
    Wallet.objects.create(organization=alice.organization, balance_nanos=3_000_000_000 * USD)

    with pytest.raises(ValidationError, match="more than a wallet can hold"):
        redeem(member=alice, code=code)

    assert RedemptionCode.objects.get().claimed_at is None
    assert LedgerEntry.objects.count() == 0
    assert balance(alice) == 3_000_000_000 * USD


def test_after_ten_wrong_guesses_a_user_waits_and_others_do_not(alice):
    [code, another] = codes(2)
    bob = Membership.objects.get(user=create_user(email="bob@example.com", password="x"))
    for _ in range(5):
        assert refusal(alice, "CR-0000-0000-0000-0000") == "unknown"
    redeem(member=alice, code=code)  # a right one counts for nothing
    for _ in range(5):
        assert refusal(alice, "no code at all") == "unknown"

    assert refusal(alice, another) == "too_many"
    elsewhere = Membership.objects.get(
        user=alice.user, organization=create_organization(name="Elsewhere", owner=alice.user)
    )
    assert refusal(elsewhere, another) == "too_many"

    assert RedemptionCode.objects.exclude(claimed_at=None).count() == 1
    assert redeem(member=bob, code=another) == 5 * USD


def test_a_used_code_is_no_wrong_guess(alice):
    [code, another] = codes(2)
    redeem(member=alice, code=code)
    for _ in range(12):
        assert refusal(alice, code) == "used"

    assert redeem(member=alice, code=another) == 5 * USD


def test_many_at_once_get_one_code_once(transactional_db):
    members = [Membership.objects.get(user=create_user(email=f"{n}@example.com", password="x")) for n in range(4)]
    [code] = codes()

    def claim(member: Membership) -> str:
        try:
            return f"{redeem(member=member, code=code)}"
        except ValidationError as error:
            return str(error.error_list[0].code)

    outcomes = in_threads(*[lambda member=member: claim(member) for member in members * 2])

    assert sorted(outcomes) == sorted(["5000000000", *["used"] * 7])
    assert sum(balance(member) for member in members) == 5 * USD
    assert LedgerEntry.objects.count() == 1
    assert reconcile()["breaches"] == []


def test_many_codes_at_once_into_one_wallet(transactional_db):
    member = Membership.objects.get(user=create_user(email="alice@example.com", password="x"))
    made = codes(8)

    in_threads(*[lambda code=code: redeem(member=member, code=code) for code in made])

    assert balance(member) == 40 * USD
    assert LedgerEntry.objects.count() == 8
    assert reconcile()["breaches"] == []


def test_disabling_and_claiming_at_once_agree(transactional_db):
    member = Membership.objects.get(user=create_user(email="alice@example.com", password="x"))
    made = codes(6)
    batch = RedemptionBatch.objects.get()

    def claim(code: str) -> int:
        with suppress(ValidationError):
            return redeem(member=member, code=code)
        return 0

    *claims, _ = in_threads(
        *[lambda code=code: claim(code) for code in made], lambda: disable_batch(batch=RedemptionBatch(pk=batch.pk))
    )

    assert balance(member) == sum(claims)
    assert RedemptionCode.objects.exclude(claimed_at=None).count() == sum(claims) // (5 * USD)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"count": 0}, "count"),
        ({"count": 10_001}, "count"),
        ({"amount_nanos": 0}, "amount_nanos"),
        ({"amount_nanos": -1}, "amount_nanos"),
        ({"amount_nanos": 2_000_000_001 * USD}, "amount_nanos"),
        ({"name": " "}, "name"),
        ({"expires_at": timezone.now() - timedelta(days=1)}, "expires_at"),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(db, given, field):
    with pytest.raises(ValidationError) as raised:
        codes(**given)

    assert list(raised.value.message_dict) == [field]
    assert (RedemptionBatch.objects.count(), RedemptionCode.objects.count(), AuditEntry.objects.count()) == (0, 0, 0)


def test_making_a_batch_is_audited_without_its_codes(db):
    made = codes(3)

    log = AuditEntry.objects.get()
    assert (log.action, log.object_kind, log.object_name) == ("redemption.created", "redemption", "Spring")
    assert log.changes == {"codes": [None, 3], "amount_nanos": [None, 5 * USD], "expires_at": [None, None]}
    assert not any(code in str(log.changes) for code in made)


# The admin

BASE = "/admin/billing/redemptionbatch/"


def test_an_operator_makes_a_batch_reads_its_codes_and_disables_it(alice):
    client = operator()
    form = {"name": "Launch", "amount_nanos": "2.50", "count": "3", "note": "for the launch"}

    made = client.post(f"{BASE}add/", form)

    batch = RedemptionBatch.objects.get()
    assert (batch.name, batch.amount_nanos, batch.note, batch.codes.count()) == (
        "Launch",
        2_500_000_000,
        "for the launch",
        3,
    )
    assert batch.created_by.email == "operator@example.com"
    assert made.status_code == 302
    rows = list(codes_of(batch))
    redeem(member=alice, code=str(rows[1].code))
    page = client.get(f"{BASE}{batch.pk}/change/").content.decode()
    assert "$2.50" in page and "1 of 3" in page and "$7.50" in page
    listed = client.get(f"/admin/billing/redemptioncode/?batch__id__exact={batch.pk}").content.decode()
    assert all(str(row.code) in listed for row in rows)
    assert alice.organization.name in listed
    found = client.get(f"/admin/billing/redemptioncode/?q={str(rows[2].code).lower()}").content.decode()
    assert [str(row.code) in found for row in rows] == [False, False, True]

    answer = client.get(f"{BASE}{batch.pk}/codes-csv/")
    table = list(csv.reader(io.StringIO(answer.content.decode())))
    assert answer["content-type"] == "text/csv; charset=utf-8"
    assert "no-store" in answer["cache-control"]
    assert [row[0] for row in table] == ["code", *(row.code for row in rows)]
    claimed = RedemptionCode.objects.get(pk=rows[1].pk).claimed_at
    assert table[2][1:] == ["2.5", f"{claimed:%Y-%m-%dT%H:%M:%SZ}", alice.organization.name, "alice@example.com"]
    assert table[1][2:] == ["", "", ""]

    assert client.get(f"{BASE}{batch.pk}/disable/").status_code == 200
    assert not RedemptionBatch.objects.get().disabled
    client.post(f"{BASE}{batch.pk}/disable/", {})
    assert RedemptionBatch.objects.get().disabled
    client.post(f"{BASE}{batch.pk}/enable/", {})
    assert not RedemptionBatch.objects.get().disabled
    entry = AuditEntry.objects.filter(action="redemption.changed").first()
    assert (entry.actor.email, entry.via) == ("operator@example.com", "admin")


def test_what_a_batch_is_worth_is_not_edited_later(alice):
    codes()
    batch = RedemptionBatch.objects.get()

    operator().post(f"{BASE}{batch.pk}/change/", {"name": "Other", "amount_nanos": "99", "count": "9", "note": "x"})

    after = RedemptionBatch.objects.get()
    assert (after.amount_nanos, after.codes.count()) == (5 * USD, 1)


def test_a_wrong_batch_is_told_to_the_operator(db):
    page = operator().post(f"{BASE}add/", {"name": "Launch", "amount_nanos": "0", "count": "3"})

    assert page.status_code == 200
    assert "A code must be worth something" in page.content.decode()
    assert not RedemptionBatch.objects.exists()


def test_codes_are_shown_to_those_alone_who_may_read_them(alice):
    [code] = codes()
    batch = RedemptionBatch.objects.get()
    client = staff("billing.view_redemptionbatch")

    assert client.get(BASE).status_code == 200
    page = client.get(f"{BASE}{batch.pk}/change/")
    assert page.status_code == 200
    assert code not in page.content.decode()
    answers = [
        client.get(f"{BASE}{batch.pk}/codes-csv/").status_code,
        client.get("/admin/billing/redemptioncode/").status_code,
        client.get(f"{BASE}add/").status_code,
        client.post(f"{BASE}add/", {"name": "x", "amount_nanos": "1", "count": "1"}).status_code,
        client.post(f"{BASE}{batch.pk}/disable/", {}).status_code,
    ]
    assert answers == [403, 403, 403, 403, 403]
    assert RedemptionBatch.objects.count() == 1
    assert not RedemptionBatch.objects.get().disabled


def test_a_batch_that_is_not_there(db):
    client = operator()

    assert client.get(f"{BASE}77/codes-csv/").status_code == 404
    assert client.post(f"{BASE}77/disable/", {}).status_code == 404
