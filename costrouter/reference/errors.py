"""The table of errors as the docs show it: by status, with what each means, and in each dialect."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from costrouter.reference.shapes import Text
from relay.error_help import HELP, Help
from relay.errors import ERRORS, RelayError
from relay.protocols.error_shapes import error_body

# A client that is gone reads no answer.
_NEVER_ANSWERED = frozenset({"client_gone"})
# Whose shape → a dialect that has it.
DIALECTS = {"openai": "chat", "anthropic": "anthropic", "gemini": "gemini"}
DIALECT_NAMES = {"openai": "OpenAI", "anthropic": "Anthropic", "gemini": "Gemini"}


@dataclass(frozen=True, slots=True)
class Error:
    """One error: its code, and its words."""

    code: str
    status: int
    help: Help


def by_status() -> dict[int, list[Error]]:
    """Errors that a client can be answered, by status."""
    found: dict[int, list[Error]] = {}
    for code, kind in sorted(ERRORS.items(), key=lambda row: row[1].status):
        if code not in _NEVER_ANSWERED:
            found.setdefault(kind.status, []).append(Error(code, kind.status, HELP[code]))
    return found


@dataclass(frozen=True, slots=True)
class Common:
    """What most first requests fail by: statuses, what they mean in general, what to look at first."""

    label: str
    statuses: range
    title: Text
    fix: Text

    @property
    def codes(self) -> tuple[str, ...]:
        """The errors of these statuses."""
        return tuple(error.code for status, rows in by_status().items() if status in self.statuses for error in rows)


COMMON = (
    Common(
        "401",
        range(401, 402),
        _("Authentication failed"),
        _("Check that Authorization uses Bearer plus your CostRouter API-Key."),
    ),
    Common(
        "403",
        range(403, 404),
        _("No access or balance"),
        _("Check key status, account balance, model access, and billing settings."),
    ),
    Common(
        "429",
        range(429, 430),
        _("Rate limited"),
        _("Reduce concurrency, retry with backoff, or review account limits."),
    ),
    Common(
        "5xx",
        range(500, 600),
        _("Upstream or routing failure"),
        _("Retry later and inspect Usage Logs for the request status and model route."),
    ),
)

_SAMPLE = RelayError("model_not_found", "The model gpt-x is not served here.", param="model")


def sample(family: str) -> object:
    """An error as a client of a family reads it."""
    return json.loads(error_body(_SAMPLE, DIALECTS[family]))
