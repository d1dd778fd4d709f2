"""Code to paste, for each endpoint in curl, Python and Node. Pure: texts from the tables.

What differs from reader to reader stands in a snippet as a mark (`costrouter.reference.marks`); `filled` puts the
reader's own there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from costrouter.reference.entries import Entry
from costrouter.reference.marks import BASE, KEY, MODEL_MARK, SOCKET
from costrouter.reference.snippets.curl import curl
from costrouter.reference.snippets.literals import model_name
from costrouter.reference.snippets.node import node
from costrouter.reference.snippets.python import python

_MARKED = re.compile(f"{MODEL_MARK}([^{MODEL_MARK}]*){MODEL_MARK}")


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: the site's address as they see it, their key where they just made one, the model they asked for."""

    base_url: str
    key: str = KEY
    model: str = ""


@dataclass(frozen=True, slots=True)
class Snippet:
    """Code in one language: what its tab says, what the language is called, the text with its marks."""

    label: str
    lang: str
    text: str


def snippets_of(entry: Entry) -> tuple[Snippet, ...]:
    """The snippets of an endpoint."""
    return (
        Snippet("curl", "sh", curl(entry)),
        Snippet("Python", "python", python(entry)),
        Snippet("Node", "javascript", node(entry)),
    )


def filled(text: str, reader: Reader) -> str:
    """A text with the reader's address, key and model in place of its marks."""
    text = _MARKED.sub(lambda found: reader.model or found[1], text)
    socket = reader.base_url.replace("http", "ws", 1)
    return text.replace(BASE, reader.base_url).replace(SOCKET, socket).replace(KEY, reader.key)


__all__ = ["Reader", "Snippet", "filled", "model_name", "snippets_of"]
