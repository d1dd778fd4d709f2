"""Identifiers that sort by time, and secrets."""

from __future__ import annotations

import secrets
import string
import time

_ALPHABET = string.ascii_letters + string.digits


def request_id() -> str:
    """`req_` and 32 hex digits of a version 7 UUID (RFC 9562): 48 bits of milliseconds first, then 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"req_{value:032x}"


def api_key() -> str:
    """A new API key: `sk-` and 48 letters and digits (285 bits)."""
    return "sk-" + "".join(secrets.choice(_ALPHABET) for _ in range(48))


def password() -> str:
    """A password for a person to copy once: 20 letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(20))


def may_be_id(text: str) -> bool:
    """Whether a text that a client sent can be an identifier of ours. PostgreSQL refuses even to look for a NUL."""
    return text.isascii() and text.isprintable()
