"""Whose fault an upstream's error is, as far as providers agree: a 4xx is the client's, save those about the account.

Sources: the errors of each provider's API reference, and of the SDKs openai 3.54, anthropic 2.12, google-genai 3.4,
cohere 7.3 and botocore 1.44 (bedrock-runtime).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from relay.upstream.providers.base import Fault

# Statuses that say something about the operator's account, configuration or quota, or the upstream itself.
OPERATOR_STATUSES = frozenset({401, 402, 403, 404, 405, 407, 408, 429})
# An error's kind is near its beginning.
_MAX_READ = 64 * 1024


def faults(
    *,
    statuses: frozenset[int] = frozenset(),
    kinds: frozenset[str] = frozenset(),
    messages: str = "",
) -> Callable[[int, bytes], Fault]:
    """A provider's rule. The operator's besides `OPERATOR_STATUSES`: 4xx of `statuses`; those whose error says one of
    `kinds` (as its type, code, status or reason); those whose message begins with `messages` (a pattern). Only the
    beginning of a message counts, for a client's own error may quote what the client wrote.
    """
    operators = OPERATOR_STATUSES | statuses
    begins = re.compile(messages, re.IGNORECASE) if messages else None

    def fault(status: int, body: bytes) -> Fault:
        if not 400 <= status < 500 or status in operators:
            return Fault.OPERATOR
        said, message = read_error(body)
        if said & kinds or (begins is not None and begins.match(message)):
            return Fault.OPERATOR
        return Fault.CLIENT

    return fault


def read_error(body: bytes) -> tuple[set[str], str]:
    """(what an error calls itself, its message), whatever envelope of the known ones it has."""
    try:
        found: Any = json.loads(body[:_MAX_READ])
    except (ValueError, RecursionError):
        return set(), ""
    if isinstance(found, list):
        found = found[0] if found else None
    if not isinstance(found, dict):
        return set(), ""
    inner = found.get("error")
    error: dict[str, Any] = inner if isinstance(inner, dict) else found
    said = [error.get(name) for name in ("type", "code", "status", "reason", "__type")]
    details = error.get("details")
    said += (
        [detail.get("reason") for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    )
    message = next((error[name] for name in ("message", "detail", "Message") if isinstance(error.get(name), str)), "")
    return {name for name in said if isinstance(name, str)}, message.strip()
