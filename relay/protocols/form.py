"""Fields of a form as `relay.entry.multipart` describes it: numbers and flags are texts there, native in JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols.fields import Fields, integer, value_of

_FLAGS = {"true": True, "1": True, "false": False, "0": False, "": False}


def number(fields: Fields, name: str, least: int, most: int) -> int | None:
    """A whole number, in digits or as one."""
    value = value_of(fields, name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return integer({name: msgspec.Raw(value.lstrip("0").encode() or b"0")}, name, least, most)
    return integer(fields, name, least, most)


def flag(fields: Fields, name: str) -> bool:
    """True or false, in words or as one."""
    value = value_of(fields, name)
    if isinstance(value, str):
        value = _FLAGS.get(value.lower())
        if value is None:
            raise RelayError("invalid_request", f"{name} must be true or false.", param=name)
    if value is not None and not isinstance(value, bool):
        raise RelayError("invalid_request", f"{name} must be true or false.", param=name)
    return bool(value)


def files(fields: Fields, name: str) -> list[dict[str, Any]]:
    """The files of a name. Raises RelayError where it is given as a text."""
    value = value_of(fields, name)
    found = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(one, dict) for one in found):
        raise RelayError("invalid_request", f"{name} must be a file.", param=name)
    return found
