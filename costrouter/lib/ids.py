"""Identifiers that sort by time, and secrets."""

from __future__ import annotations

import secrets
import string
import time
from datetime import datetime

_ALPHABET = string.ascii_letters + string.digits


def request_id() -> str:
    """`req_` and 32 hex digits of a version 7 UUID (RFC 9562): 48 bits of milliseconds first, then 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"req_{value:032x}"


def request_id_at(moment: datetime) -> str:
    """The smallest request id of a moment. Ids begin with milliseconds, so a span of time is a span of ids."""
    return f"req_{max(0, int(moment.timestamp() * 1000)):012x}"


def api_key() -> str:
    """A new API key: `sk-` and 48 letters and digits (285 bits)."""
    return "sk-" + "".join(secrets.choice(_ALPHABET) for _ in range(48))


def access_token() -> str:
    """A new personal access token: `crt_` and 48 letters and digits."""
    return "crt_" + "".join(secrets.choice(_ALPHABET) for _ in range(48))


def invitation() -> str:
    """The secret in an invitation's link: 40 letters and digits (238 bits)."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(40))


def password() -> str:
    """A password for a person to copy once: 20 letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(20))


def may_be_id(text: str) -> bool:
    """Whether a text that a client sent can be an identifier of ours. PostgreSQL refuses even to look for a NUL."""
    return text.isascii() and text.isprintable()
