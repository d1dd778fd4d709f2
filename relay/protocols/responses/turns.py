"""Stored turns of the Responses dialect: what is kept of a conversation, so that the next request may continue it.

The relay keeps turns itself (`previous_response_id`); nothing is stored upstream. A turn is a list of items: all that
went in, with the history before it, and all that came out. Items stay as they were sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from relay.protocols.base import Request

_encode = msgspec.json.encode
_items = msgspec.json.Decoder(list[msgspec.Raw])


class _Response(msgspec.Struct):
    output: list[msgspec.Raw] = []


_response = msgspec.json.Decoder(_Response)


def turn_items(request: Request, output: Iterable[Any]) -> list[msgspec.Raw]:
    """What to store of a request and its answer's output."""
    options = request.options
    kept = [item if isinstance(item, msgspec.Raw) else msgspec.Raw(_encode(item)) for item in output]
    return [*(options.history or ()), *options.items, *filter(_is_readable, kept)]


def _is_readable(item: msgspec.Raw) -> bool:
    """Whether an item means something to an upstream that stored nothing: a summary alone is looked up by its id."""
    value = msgspec.json.decode(item)
    if not isinstance(value, dict):
        return False
    return value.get("type") != "reasoning" or bool(value.get("encrypted_content") or value.get("content"))


def pack(items: list[msgspec.Raw]) -> bytes:
    """A turn as bytes."""
    return _encode(items)


def unpack(turn: bytes) -> list[msgspec.Raw]:
    """The items of a turn that `pack` made."""
    return _items.decode(turn)


def output_of(response: bytes) -> list[msgspec.Raw]:
    """The items that a whole response of ours shows its client: what a converted answer is stored from."""
    return _response.decode(response).output
