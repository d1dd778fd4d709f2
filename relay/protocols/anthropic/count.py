"""Anthropic's count of the tokens that a request would use: what passes through, and what we count ourselves.

Source of the format: `MessageTokensCount` of the anthropic 2.12 package.
"""

from __future__ import annotations

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Answer, Request
from relay.protocols.fields import integer, top_level


def read_answer(body: bytes, request: Request | None = None) -> Answer | None:
    """A count, which costs nothing; None where the body is none."""
    try:
        count = integer(top_level.decode(body), "input_tokens", 0, 1_000_000_000)
    except (msgspec.DecodeError, RelayError, UnicodeDecodeError, RecursionError):
        return None
    return None if count is None else Answer({}, [], lambda _units, _cost: body)


def count_answer(tokens: int) -> bytes:
    """The answer to a client whose request we counted."""
    return msgspec.json.encode({"input_tokens": tokens})
