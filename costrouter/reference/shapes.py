"""What the data tables are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# A text that is translated when it is shown.
Text = Any
Place = Literal["body", "path", "query", "header"]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter, or a field of an answer. `name`: its path in the body, as in `messages[].content`.

    `type`: "string", "integer", "number", "boolean", "object", "file", "array<…>", or several of them by " | ".
    `values`: all that it may be. `place`: where it stands in a request.
    """

    name: str
    type: str
    about: Text
    required: bool = False
    values: tuple[str, ...] = ()
    place: Place = "body"


def need(name: str, kind: str, about: Text, values: tuple[str, ...] = (), place: Place = "body") -> Param:
    """A parameter that must be given."""
    return Param(name, kind, about, required=True, values=values, place=place)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a form: what the snippets call it, and its content type."""

    name: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Call:
    """How an official SDK makes a request in one language.

    `method`: what is called, as in `client.responses.create`. `arguments`: where they are not the example's body.
    `after`: lines that show the answer, which is `response`; None: the snippet is `lines` alone. `imports`: beside the
    client's own. Lines may name `MODEL`, the example's model. `with_client`: whether there is a client at all.
    """

    method: str = ""
    arguments: Mapping[str, Any] | None = None
    after: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    lines: tuple[str, ...] | None = None
    with_client: bool = True


@dataclass(frozen=True, slots=True)
class Code:
    """Text that stands in a call as it is: an opened file, say."""

    text: str


@dataclass(frozen=True, slots=True)
class Binary:
    """An answer that is bytes, not JSON: its content type."""

    content_type: str


@dataclass(frozen=True, slots=True)
class Doc:
    """What the tables tell of one endpoint, by its name in `relay.endpoints`.

    `models`: names that people know; the first is in the example. `request`: the example's body, None where there is
    none; a form has `File`s. `path`: what the example puts into the path. `response`: JSON, or `Binary`. `stream`: the
    same answer, streamed. `fields`: of the answer. `sdk`: whose client is used, a row of `snippets.sdks.SDKS`.
    `save_as`: where curl puts an answer of bytes. `beyond`: parameters that other makers have, not this SDK's types.
    """

    name: str
    title: Text
    summary: Text
    provider: str
    params: tuple[Param, ...]
    fields: tuple[Param, ...]
    response: Any
    python: Call
    node: Call
    models: tuple[str, ...] = ()
    request: Mapping[str, Any] | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: bool = False
    stream: str = ""
    notes: tuple[Text, ...] = ()
    sdk: str = "openai"
    save_as: str = ""
    beyond: frozenset[str] = frozenset()
