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
