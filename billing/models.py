"""Money: wallets, holds, usage records, the ledger, prices, budgets. The rules are in `docs/money.md`.

Amounts are integers of nano-USD. Foreign keys on hold, record and ledger carry no database constraint: a constraint
would lock hot parent rows on every insert.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import ApiKey, Organization
from costrouter.lib.units import UNITS


def _loose_key(to: Any, **options: Any) -> Any:
    """A foreign key that the database does not enforce and does not index."""
    options.setdefault("related_name", "+")
    return models.ForeignKey(to, models.DO_NOTHING, db_constraint=False, db_index=False, **options)


class Wallet(models.Model):
    """An organization's money. Only the writer, settlement, the sweep and `services.add_entry` move it."""

    organization = models.OneToOneField(Organization, models.PROTECT, primary_key=True, related_name="wallet")
    balance_nanos = models.BigIntegerField(default=0)
    held_nanos = models.BigIntegerField(default=0)
    credit_limit_nanos = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["organization__name"]

    def __str__(self) -> str:
        return f"Wallet of {self.organization}"


class ProcessLease(models.Model):
    """A web process that may hold money. Renewed every 5 s; once expired, its open holds are swept."""

    id = models.CharField(max_length=40, primary_key=True)
    process = models.CharField(max_length=200)
    started_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.process


class Hold(models.Model):
    """Money set aside for a request. Captured, it is a charge of `amount_nanos` that waits for its ledger entry."""

    request_id = models.CharField(max_length=40, primary_key=True)
    wallet = _loose_key(Wallet)
    amount_nanos = models.BigIntegerField()
    captured = models.BooleanField(default=False)
    lease = _loose_key(ProcessLease, null=True)
    deadline = models.DateTimeField(null=True, help_text="For tasks without a process: when the sweep may take it.")
    budget_ids = models.JSONField(default=list)
    api_key_id = models.BigIntegerField(null=True)
    user_id = models.BigIntegerField(null=True)
    model = models.CharField(max_length=150)
    group = models.CharField(max_length=50)
    endpoint = models.CharField(max_length=50)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["request_id"], condition=Q(captured=True), name="hold_captured"),
            models.Index(fields=["lease"], condition=Q(captured=False), name="hold_open_by_lease"),
        ]

    def __str__(self) -> str:
        return self.request_id


class UsageRecord(models.Model):
    """What became of one request. Inserted once; only an `interrupted` record may be replaced, by a late capture."""

    class Status(models.TextChoices):
        OK = "ok", "OK"
        CANCELLED = "cancelled", "Client went away"
        UPSTREAM_ERROR = "upstream_error", "Upstream error"
        REFUSED = "refused", "Refused"
        INTERRUPTED = "interrupted", "Interrupted"

    request_id = models.CharField(max_length=40, primary_key=True)
    created_at = models.DateTimeField(default=timezone.now)
    organization = _loose_key(Organization)
    user = _loose_key(settings.AUTH_USER_MODEL, null=True)
    api_key = _loose_key(ApiKey, null=True)
    endpoint = models.CharField(max_length=50)
    model = models.CharField(max_length=150, blank=True)
    group = models.CharField(max_length=50, blank=True)
    channel_id = models.BigIntegerField(null=True)
    channel = models.CharField(max_length=100, blank=True)
    attempts = models.JSONField(default=list, help_text="Each channel tried: its number, name, outcome, milliseconds.")
    status = models.CharField(max_length=20, choices=Status)
    http_status = models.PositiveSmallIntegerField(default=0)
    error_code = models.CharField(max_length=60, blank=True)
    streamed = models.BooleanField(default=False)
    estimated = models.BooleanField(
        default=False, help_text="The upstream sent no usage: counted by our own tokenizer."
    )
    units = models.JSONField(default=dict)
    lines = models.JSONField(default=list, help_text="Unit, quantity, price and what the price pays for.")
    cost_nanos = models.BigIntegerField(default=0)
    upstream_cost_nanos = models.BigIntegerField(default=0)
    held_nanos = models.BigIntegerField(default=0)
    overrun_nanos = models.BigIntegerField(default=0)
    price_id = models.BigIntegerField(null=True)
    rate = models.DecimalField(max_digits=8, decimal_places=4, default=1)
    first_byte_ms = models.PositiveIntegerField(null=True)
    duration_ms = models.PositiveIntegerField(null=True)
    client_ip = models.CharField(max_length=45, blank=True)
    client_request_id = models.CharField(max_length=128, blank=True)

    class Meta:
        ordering = ["-request_id"]
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["organization", "request_id"], name="record_by_organization"),
            models.Index(fields=["api_key", "request_id"], name="record_by_key"),
        ]

    def __str__(self) -> str:
        return self.request_id


class RefusalTally(models.Model):
    """Refusals of a key past ten a second: counted by the minute instead of recorded one by one."""

    api_key = _loose_key(ApiKey)
    organization = _loose_key(Organization)
    minute = models.DateTimeField()
    error_code = models.CharField(max_length=60)
    count = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["api_key", "minute", "error_code"], name="one_tally_per_key_minute_code")
        ]

    def __str__(self) -> str:
        return f"{self.count} × {self.error_code}"


class LedgerEntry(models.Model):
    """One movement of a wallet's balance. Insert-only: a database trigger refuses updates and deletes."""

    class Kind(models.TextChoices):
        OPENING = "opening", "Opening credit"
        CREDIT = "credit", "Credit"
        DEBIT = "debit", "Debit"
        USAGE = "usage", "Usage"
        CREDIT_LIMIT = "credit_limit", "Credit limit"
        REDEMPTION = "redemption", "Redemption code"

    wallet = _loose_key(Wallet)
    kind = models.CharField(max_length=20, choices=Kind)
    amount_nanos = models.BigIntegerField(help_text="Signed: what the balance changed by.")
    limit_change_nanos = models.BigIntegerField(default=0, help_text="Signed: what the credit limit changed by.")
    requests = models.PositiveIntegerField(default=0, help_text="How many charges a usage entry sums up.")
    idempotency_key = models.CharField(max_length=100, unique=True)
    actor = _loose_key(settings.AUTH_USER_MODEL, null=True)
    note = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        default_permissions = ("view",)
        verbose_name_plural = "ledger entries"
        indexes = [
            models.Index(fields=["wallet", "id"], name="entry_by_wallet"),
            # Settlement writes an entry a second: what people did is found without walking through them.
            models.Index(fields=["wallet", "id"], condition=~Q(kind="usage"), name="entry_but_usage"),
            # For the operator's list of some days of all wallets.
            models.Index(fields=["created_at"], name="entry_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.idempotency_key}"


class Price(models.Model):
    """What a model costs from a moment on, in USD. Append-only: a database trigger refuses changes."""

    STANDARD = "standard"

    model_name = models.CharField(max_length=150)
    tier = models.CharField(
        max_length=20,
        default=STANDARD,
        help_text="standard, or a service tier: flex, priority, fast, batch. A better image or video than the usual "
        "has a price of its own, named by what makes it so: hd 1024x1792.",
    )
    units = models.JSONField(help_text='Unit → price as a decimal string, e.g. {"input": "0.15", "output": "0.6"}.')
    long_context_above = models.PositiveIntegerField(
        null=True, blank=True, help_text="Input tokens beyond which the long-context prices apply to the whole request."
    )
    long_context_units = models.JSONField(default=dict, blank=True)
    effective_from = models.DateTimeField(default=timezone.now)
    source = models.CharField(max_length=50, default="operator")
    note = models.CharField(max_length=200, blank=True)
    created_by = _loose_key(settings.AUTH_USER_MODEL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["model_name", "tier", "-effective_from", "-id"]
        default_permissions = ("add", "view")
        indexes = [models.Index(fields=["model_name", "tier", "effective_from"], name="price_in_force")]

    def __str__(self) -> str:
        return f"{self.model_name} from {self.effective_from:%Y-%m-%d %H:%M}"


class Budget(models.Model):
    """A limit on what a key, a member or an organization may spend in a window (UTC). It moves with the wallet."""

    class Window(models.TextChoices):
        TOTAL = "total", "In all"
        DAY = "day", "A day"
        WEEK = "week", "A week"
        MONTH = "month", "A month"

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="budgets")
    api_key = models.ForeignKey(ApiKey, models.CASCADE, null=True, blank=True, related_name="budgets")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="budgets", verbose_name="member"
    )
    limit_nanos = models.BigIntegerField()
    window = models.CharField(max_length=10, choices=Window, default=Window.TOTAL)
    window_start = models.DateField(null=True, editable=False)
    spent_nanos = models.BigIntegerField(default=0, editable=False)
    held_nanos = models.BigIntegerField(default=0, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(api_key__isnull=True) | Q(user__isnull=True), name="budget_of_a_key_or_a_member"
            )
        ]

    def __str__(self) -> str:
        return f"Budget of {self.api_key or self.user or self.organization}"


class DayTotal(models.Model):
    """Settled usage by UTC day of the request, organization, model, key and channel. Rebuildable from records."""

    day = models.DateField()
    organization = _loose_key(Organization)
    model = models.CharField(max_length=150)
    api_key_id = models.BigIntegerField(default=0)
    channel_id = models.BigIntegerField(default=0)
    requests = models.BigIntegerField(default=0)
    failures = models.BigIntegerField(default=0)
    cost_nanos = models.BigIntegerField(default=0)
    upstream_cost_nanos = models.BigIntegerField(default=0)
    overrun_nanos = models.BigIntegerField(default=0)
    overruns = models.BigIntegerField(default=0, help_text="Requests that cost more than was held.")
    first_byte_ms = models.BigIntegerField(default=0, help_text="The sum over `timed` requests.")
    timed = models.BigIntegerField(default=0, help_text="Requests whose time to the first byte is known.")

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["day", "organization", "model", "api_key_id", "channel_id"], name="one_total_per_day_and_key"
            )
        ]
        indexes = [
            models.Index(fields=["api_key_id", "day"], name="total_by_key"),
            models.Index(fields=["organization", "day"], name="total_by_organization"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.model}"


class RedemptionBatch(models.Model):
    """Codes that an operator made together: each is worth the same amount, once."""

    name = models.CharField(max_length=100)
    amount_nanos = models.BigIntegerField(help_text="What each code is worth.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="From then on no code can be redeemed.")
    disabled = models.BooleanField(default=False, help_text="On: no code of this batch can be redeemed any more.")
    note = models.CharField(max_length=200, blank=True)
    created_by = _loose_key(settings.AUTH_USER_MODEL, null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "redemption batches"

    def __str__(self) -> str:
        return self.name


class RedemptionCode(models.Model):
    """A code of a batch. It is found by its keyed hash; operators may read it again, decrypted."""

    batch = models.ForeignKey(RedemptionBatch, models.PROTECT, related_name="codes")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    code_encrypted = models.TextField(editable=False)
    claimed_by = _loose_key(Organization, null=True)
    claimed_by_user = _loose_key(settings.AUTH_USER_MODEL, null=True)
    claimed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"code {self.pk}"


for _unit in UNITS:
    DayTotal.add_to_class(_unit, models.BigIntegerField(default=0))  # type: ignore[attr-defined]
