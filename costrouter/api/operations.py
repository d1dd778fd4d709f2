"""What an operation of the API says of itself: whom it lets in, what it takes, what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from rest_framework import serializers

from costrouter.api.fields import In

Serializer = type[serializers.BaseSerializer]


@dataclass(frozen=True, slots=True)
class Operation:
    """What a method of a path does.

    `scope`: what a token needs, of `SCOPES`; "" where every token may. `action`: what the member's role must allow, of
    `PERMISSIONS`; None where nothing of an organization is concerned. `permissions`: Django's, for operators.
    `query`, `body`, `answer`: serializers; None where there is none. `id`: its name in the schema.
    """

    id: str
    summary: str
    scope: str
    action: str | None
    permissions: tuple[str, ...]
    query: type[In] | None
    body: type[In] | None
    answer: Serializer | None
    status: int
    session_only: bool
