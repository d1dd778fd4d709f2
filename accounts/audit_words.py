"""Audit entries in words, for the admin and the console: what was done, and what changed from what to what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from accounts.audit import ACTIONS
from accounts.models import AuditEntry
from costrouter.lib.money import usd_text

# Fields whose name alone would puzzle people.
LABELS: dict[str, Any] = {
    "allowed_ips": lazy("addresses"),
    "allowed_models": lazy("models"),
    "balance_nanos": lazy("balance"),
    "credit_limit_nanos": lazy("credit limit"),
    "expires_at": lazy("expires"),
    "invited_as": lazy("invited as"),
    "is_active": lazy("active"),
    "is_public": lazy("open to everyone"),
    "is_staff": lazy("operator"),
    "is_superuser": lazy("superuser"),
    "limit_nanos": lazy("limit"),
    "amount_nanos": lazy("amount"),
    "prefix": lazy("begins with"),
    "previous_expires_at": lazy("old secret works until"),
}
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d):\d\d(\.\d+)?\+00:00")


@dataclass(frozen=True, slots=True)
class Change:
    """A field that changed. `before` and `after` are texts; "" for nothing."""

    label: str
    before: str
    after: str


def action_text(action: str) -> str:
    """What an action is called; its own name where a later release did it."""
    return str(ACTIONS.get(action, action))


def changes_of(entry: AuditEntry) -> list[Change]:
    """What an entry says was changed, in the order it was written; without what had no value before nor after."""
    said = [
        Change(str(LABELS.get(field, field.replace("_", " "))), _text(field, before), _text(field, after))
        for field, (before, after) in entry.changes.items()
    ]
    return [change for change in said if change.before or change.after]


def _text(field: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if field.endswith("_nanos") and isinstance(value, int):
        return usd_text(value)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return _MOMENT.sub(r"\1 \2 UTC", str(value))
