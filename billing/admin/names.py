"""Names for rows whose foreign keys the database does not enforce: what they point to may be gone.

One query a table for a whole page, never a join: an inner join would hide the rows of a deleted organization.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import ApiKey, Organization, User
from costrouter.admin.base import link, page_url

_TABLES: tuple[tuple[str, Any, str, str], ...] = (
    ("organization_id", Organization, "name", "accounts.organization"),
    ("wallet_id", Organization, "name", "accounts.organization"),
    ("user_id", User, "email", "accounts.user"),
    ("actor_id", User, "email", "accounts.user"),
    ("created_by_id", User, "email", "accounts.user"),
    ("claimed_by_id", Organization, "name", "accounts.organization"),
    ("claimed_by_user_id", User, "email", "accounts.user"),
    ("api_key_id", ApiKey, "name", "accounts.apikey"),
)


def attach_names(rows: Iterable[Any]) -> list[Any]:
    """The rows, each with `names`: column → the name of what it points to, without those that are gone."""
    found = list(rows)
    for row in found:
        row.names = {}
    for column, model, field, _ in _TABLES:
        wanted = {value for row in found if (value := getattr(row, column, None))}
        if not wanted:
            continue
        names = dict(model.objects.filter(pk__in=wanted).values_list("pk", field))
        for row in found:
            if (value := getattr(row, column, None)) in names:
                row.names[column] = names[value]
    return found


def name_of(row: Any, column: str) -> SafeString | str:
    """A link to what a column points to; its number where that is gone; a dash where there is none."""
    value = getattr(row, column, None)
    if not value:
        return "—"
    if not hasattr(row, "names"):
        attach_names([row])
    if column not in row.names:
        return format_html('<span class="cr-quiet">#{} (deleted)</span>', value)
    label = next(label for name, _, _, label in _TABLES if name == column)
    return link(page_url(label, "change", value), row.names[column])
