"""What the relay itself keeps between requests: turns of Responses conversations."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone

from accounts.models import ApiKey, Organization


class StoredTurn(models.Model):
    """A conversation up to an answer of `POST /v1/responses`, so that the next request can name it.

    The relay keeps it, not the upstream: it belongs to an organization, is encrypted, and goes on at any channel.
    """

    id = models.CharField(max_length=64, primary_key=True)
    organization: Any = models.ForeignKey(
        Organization, models.CASCADE, db_constraint=False, db_index=False, related_name="+"
    )
    api_key: Any = models.ForeignKey(
        ApiKey, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+", null=True
    )
    channel_id = models.BigIntegerField(help_text="Who answered: reasoning that it encrypted is read only there.")
    model = models.CharField(max_length=150)
    items_encrypted = models.BinaryField(help_text="JSON of the items, compressed, then encrypted.")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.id


class VideoTask(models.Model):
    """A video that an upstream has accepted to make: whose it is, where it is made, and what it will cost.

    Clients see only its id; what the upstream calls it stays here. It is charged once, when somebody (its client, or
    the worker) first sees it completed.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        IN_PROGRESS = "in_progress"
        COMPLETED = "completed"
        FAILED = "failed"

    OPEN = (Status.QUEUED, Status.IN_PROGRESS)

    id = models.CharField(max_length=40, primary_key=True)
    request_id = models.CharField(max_length=40, unique=True, help_text="Of the request, its hold and its record.")
    organization: Any = models.ForeignKey(
        Organization, models.CASCADE, db_constraint=False, db_index=False, related_name="+"
    )
    user_id = models.BigIntegerField(null=True)
    api_key: Any = models.ForeignKey(
        ApiKey, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+", null=True
    )
    channel_id = models.BigIntegerField(help_text="Who makes it, whose credentials own it.")
    upstream_id = models.CharField(max_length=200)
    asset = models.CharField(max_length=200, blank=True, help_text="What it is downloaded by, if not its id.")
    model = models.CharField(max_length=150)
    group = models.CharField(max_length=50)
    status = models.CharField(max_length=20, choices=Status)
    progress = models.PositiveSmallIntegerField(default=0)
    prompt = models.TextField()
    seconds = models.PositiveIntegerField()
    size = models.CharField(max_length=20, blank=True)
    remixed_from = models.CharField(max_length=40, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.CharField(max_length=500, blank=True)
    price_id = models.BigIntegerField()
    rate = models.DecimalField(max_digits=8, decimal_places=4)
    cost_multiplier = models.DecimalField(max_digits=8, decimal_places=4)
    budget_ids = models.JSONField(default=list)
    record = models.TextField(help_text="Its usage record, but for what is known only at the end. JSON.")
    created_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True, help_text="When the upstream forgets it.")
    deadline = models.DateTimeField(help_text="When its hold is given back, if it has not ended.")
    poll_at = models.DateTimeField(null=True, help_text="When the worker asks for it next.")
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["organization", "request_id"], name="video_by_organization"),
            models.Index(
                fields=["poll_at"], condition=models.Q(status__in=["queued", "in_progress"]), name="video_to_poll"
            ),
        ]

    def __str__(self) -> str:
        return self.id
