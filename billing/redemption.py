"""Redemption codes: operators make batches of them; a member turns one into money of the organization, once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from accounts import audit
from accounts.models import Membership, Organization, User
from accounts.permissions import allows
from billing.models import LedgerEntry, RedemptionBatch, RedemptionCode
from billing.services import add_entry, wallet_of
from costrouter.lib import crypto
from costrouter.lib.money import MAX_NANOS

MAX_CODES = 10_000
# Crockford's base 32: no letter in it looks like a digit in it. Sixteen of them are 80 bits.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 16
_PREFIX = "CR"
_MISREAD = str.maketrans("OIL", "011")
WRONG_GUESSES, PER_SECONDS = 10, 60 * 60


def new_code() -> str:
    """A code as people see it: CR-XXXX-XXXX-XXXX-XXXX."""
    return _shown("".join(secrets.choice(ALPHABET) for _ in range(LENGTH)))


def plain_code(text: str) -> str | None:
    """The sixteen characters that a person meant, whatever case, dashes, spaces and look-alikes; None: no code."""
    plain = "".join(char for char in text.upper() if char.isalnum())
    if len(plain) == LENGTH + len(_PREFIX):
        plain = plain.removeprefix(_PREFIX)
    plain = plain.translate(_MISREAD)
    return plain if len(plain) == LENGTH and set(plain) <= set(ALPHABET) else None


def _shown(plain: str) -> str:
    return "-".join([_PREFIX, *(plain[start : start + 4] for start in range(0, LENGTH, 4))])


def digest_of(plain: str) -> str:
    """The keyed hash that a code is found by."""
    return crypto.key_digest(settings.KEY_HASH_SECRET, f"redemption:{plain}")


@transaction.atomic
def create_batch(
    *,
    name: str,
    amount_nanos: int,
    count: int,
    expires_at: datetime | None = None,
    note: str = "",
    actor: User | None = None,
) -> RedemptionBatch:
    """A batch of `count` new codes, each worth `amount_nanos`. Raises ValidationError."""
    if not 1 <= count <= MAX_CODES:
        raise ValidationError({"count": f"Between 1 and {MAX_CODES:,} codes."})
    if not 0 < amount_nanos <= MAX_NANOS:
        raise ValidationError({"amount_nanos": "A code must be worth something, at most 2,000,000,000 USD."})
    if expires_at is not None and expires_at <= timezone.now():
        raise ValidationError({"expires_at": "That is in the past."})
    batch = RedemptionBatch(
        name=name.strip(), amount_nanos=amount_nanos, expires_at=expires_at, note=note, created_by=actor
    )
    batch.full_clean(exclude=["created_by"])
    batch.save(force_insert=True)
    codes = []
    for _ in range(count):
        code = new_code()
        plain = plain_code(code)
        assert plain is not None
        encrypted = crypto.encrypt(settings.FIELD_ENCRYPTION_KEYS, code)
        codes.append(RedemptionCode(batch=batch, digest=digest_of(plain), code_encrypted=encrypted))
    RedemptionCode.objects.bulk_create(codes, batch_size=500)
    audit.record(
        "redemption.created",
        batch,
        changes={
            "codes": (None, count),
            "amount_nanos": (None, amount_nanos),
            "expires_at": (None, expires_at and expires_at.isoformat()),
        },
    )
    return batch


def disable_batch(*, batch: RedemptionBatch) -> bool:
    """No code of this batch can be redeemed from now on. False where that is so already."""
    return _set_disabled(batch, True)


def enable_batch(*, batch: RedemptionBatch) -> bool:
    """The codes of a disabled batch can be redeemed again."""
    return _set_disabled(batch, False)


@transaction.atomic
def _set_disabled(batch: RedemptionBatch, disabled: bool) -> bool:
    changed = RedemptionBatch.objects.filter(pk=batch.pk, disabled=not disabled).update(disabled=disabled)
    batch.disabled = disabled
    if changed:
        audit.record("redemption.changed", batch, changes={"disabled": (not disabled, disabled)})
    return bool(changed)


def redeem(*, member: Membership, code: str) -> int:
    """Put what a code is worth into the organization's wallet: the nanos. Each code once, whoever comes first.

    Raises PermissionDenied for roles that may not, ValidationError (its `code`: unknown, used, expired, disabled,
    too_many) with a sentence for the member.
    """
    if not allows(member.role, "billing.redeem"):
        raise PermissionDenied
    guess = f"redemption-guesses:{member.user_id}"
    # Counted before the code is looked up, so that guesses at the same time count too; a known code is taken off again.
    if _counted(guess) > WRONG_GUESSES:
        raise ValidationError(gettext("Too many wrong codes. Try again in an hour."), code="too_many")
    plain = plain_code(code)
    row = None
    if plain is not None:
        row = RedemptionCode.objects.filter(digest=digest_of(plain)).first()
    if row is None:
        raise ValidationError(gettext("There is no such code. Check it for typing errors."), code="unknown")
    _forgive(guess)
    return _claim(member, row)


@transaction.atomic
def _claim(member: Membership, row: RedemptionCode) -> int:
    """Claim a code and credit the wallet, both or neither."""
    now = timezone.now()
    # Locked, so that nothing is redeemed once a batch was disabled.
    batch = RedemptionBatch.objects.select_for_update().get(pk=row.batch_id)
    may_claim = not batch.disabled and (batch.expires_at is None or batch.expires_at > now)
    mine = RedemptionCode.objects.filter(pk=row.pk, claimed_at__isnull=True)
    if not may_claim and mine.exists():
        if batch.disabled:
            raise ValidationError(gettext("This code is no longer valid."), code="disabled")
        raise ValidationError(gettext("This code has expired."), code="expired")
    claims = {"claimed_at": now, "claimed_by": member.organization_id, "claimed_by_user": member.user_id}
    if not (may_claim and mine.update(**claims)):
        raise ValidationError(gettext("This code has been used already."), code="used")
    wallet = wallet_of(organization=member.organization)
    add_entry(
        wallet=wallet,
        kind=LedgerEntry.Kind.REDEMPTION,
        amount_nanos=batch.amount_nanos,
        idempotency_key=f"redemption:{row.pk}",
        actor=member.user,
        note=batch.name,
    )
    audit.record(
        "wallet.redeemed",
        wallet,
        organization=member.organization_id,
        name=member.organization.name,
        changes={"amount_nanos": (None, batch.amount_nanos), "code": (None, f"{batch.name} #{row.pk}")},
    )
    return batch.amount_nanos


def _counted(key: str) -> int:
    """One more attempt; how many there were since the first one, which is forgotten after an hour."""
    cache.add(key, 0, PER_SECONDS)
    try:
        return cache.incr(key)
    except ValueError:  # it was forgotten just now
        cache.set(key, 1, PER_SECONDS)
        return 1


def _forgive(key: str) -> None:
    try:
        cache.decr(key)
    except ValueError:
        pass


@dataclass(frozen=True, slots=True)
class CodeRow:
    """A code as operators see it. `code` None: the key that encrypted it is gone."""

    pk: int
    code: str | None
    claimed_at: datetime | None
    claimed_by: str
    claimed_by_user: str


def code_text(row: RedemptionCode) -> str | None:
    """A code, decrypted; None where no configured key opens it."""
    try:
        return crypto.decrypt(settings.FIELD_ENCRYPTION_KEYS, row.code_encrypted)
    except crypto.CannotDecrypt:
        return None


def codes_of(batch: RedemptionBatch) -> Iterator[CodeRow]:
    """The codes of a batch, in the order they were made. What claimed them may be gone: then its number is shown."""
    claimed = RedemptionCode.objects.filter(batch=batch, claimed_at__isnull=False).order_by()
    names = dict(Organization.objects.filter(pk__in=claimed.values("claimed_by")).values_list("pk", "name"))
    users = dict(User.objects.filter(pk__in=claimed.values("claimed_by_user")).values_list("pk", "email"))
    for row in RedemptionCode.objects.filter(batch=batch).order_by("pk").iterator(chunk_size=1_000):
        yield CodeRow(
            pk=row.pk,
            code=code_text(row),
            claimed_at=row.claimed_at,
            claimed_by=_name(names, row.claimed_by_id),
            claimed_by_user=_name(users, row.claimed_by_user_id),
        )


def _name(names: dict[int, str], number: int | None) -> str:
    return "" if number is None else names.get(number, f"#{number}")
