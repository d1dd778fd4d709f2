"""What OpenAI's two formats of a conversation, chat and Responses, share on their way to `relay.protocols.ir`."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Literal, TypeVar

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.fields import Fields, given

B = TypeVar("B")

# What a document without a name is called: OpenAI wants one.
UNNAMED = "document.pdf"
_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_MODES: dict[str, Literal["auto", "none", "required"]] = {"auto": "auto", "none": "none", "required": "required"}


def refuse_others(fields: Fields, known: Set[str], elsewhere: str) -> None:
    """Refuse a field that would be lost, by its name. Raises RelayError."""
    for name in fields:
        if name not in known and given(fields, name):
            raise ir.unsupported(name, elsewhere)


def read_body(decoder: msgspec.json.Decoder[B], fields: Fields) -> B:
    """A body's fields as their types. Raises RelayError: a field of the wrong kind."""
    try:
        return decoder.decode(msgspec.json.encode(fields))
    except msgspec.ValidationError as error:
        path = re.search(r"`\$\.(\w+)", str(error))
        raise RelayError("invalid_request", f"{error}.", param=path[1] if path else None) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RelayError("invalid_json", f"The body is not JSON: {error}.") from error


def refuse_effort(effort: str, where: str) -> None:
    """Refuse an effort that is none; `where` is its path. Raises RelayError."""
    if effort not in _EFFORTS:
        message = f"{where} must be one of {', '.join(sorted(_EFFORTS))}."
        raise RelayError("invalid_request", message, param=where.partition(".")[0])


def choice_of(mode: str) -> ir.ToolChoice:
    """A tool choice that is a word. Raises RelayError."""
    if mode not in _MODES:
        message = "tool_choice must be auto, none, required, or an object."
        raise RelayError("invalid_request", message, param="tool_choice")
    return ir.ToolChoice(_MODES[mode])


def some_of(tools: list[ir.Tool], names: list[str], *, required: bool) -> tuple[ir.ToolChoice, list[ir.Tool]]:
    """What may be called, and of which tools: to allow some of them is to offer no others."""
    if required:
        return ir.ToolChoice("named", names), tools
    return ir.ToolChoice("auto"), [tool for tool in tools if tool.name in names]
