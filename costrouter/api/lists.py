"""Lists: `?limit=` and `?cursor=`, at most 100 rows; the answer has `data` and `next_cursor`, null at the end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from costrouter.api.fields import In, Out, Text, Whole

MOST = 100
USUAL = 25


class ListQuery(In):
    """Which part of a list."""

    limit = Whole(min_value=1, max_value=MOST, default=USUAL, help_text="How many rows at most.")
    cursor = Text(
        max_length=200, required=False, help_text="The `next_cursor` of the answer before; without it, the beginning."
    )


class RowQuery(ListQuery):
    """A list whose cursor is the number of its last row."""

    cursor = serializers.RegexField(
        r"^[1-9][0-9]{0,17}$",
        required=False,
        help_text="The `next_cursor` of the answer before; without it, the beginning.",
    )


class NameQuery(RowQuery):
    """Which rows."""

    search = Text(max_length=150, required=False, help_text="In the name.")


@cache
def list_of(row: type[Out]) -> type[Out]:
    """The answer of a list of these rows."""
    return type(
        f"{row.__name__}List",
        (Out,),
        {
            "__doc__": "A part of a list.",
            "data": row(many=True),
            "next_cursor": serializers.CharField(allow_null=True, help_text="Ask with it for what follows."),
        },
    )


@cache
def all_of(row: type[Out]) -> type[Out]:
    """The answer of a list that always comes whole."""
    return type(f"{row.__name__}s", (Out,), {"__doc__": "A whole list.", "data": row(many=True)})


def newest_first(rows: QuerySet[Any], query: dict[str, Any]) -> dict[str, Any]:
    """A page of rows by falling number."""
    if "cursor" in query:
        rows = rows.filter(pk__lt=int(query["cursor"]))
    return page(list(rows.order_by("-pk")[: query["limit"] + 1]), query["limit"])


def page(found: Sequence[Any], limit: int) -> dict[str, Any]:
    """One page of what was found, one more than the limit where more follow. The cursor is the last row's number."""
    data = list(found[:limit])
    return {"data": data, "next_cursor": str(data[-1].pk) if len(found) > limit else None}
