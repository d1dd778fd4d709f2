"""What the docs pages are made of. Their parts are the same for everybody, so each is rendered once a process.

What differs from reader to reader stands in them as marks (`snippets`), which `filled` replaces at the very end.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from costrouter.reference import errors, guides
from costrouter.reference.entries import ENTRIES, MODEL_CATEGORIES, MODEL_ENTRIES, Entry, by_category
from costrouter.reference.marks import BASE, KEY
from costrouter.reference.shapes import Binary
from costrouter.reference.snippets import snippets_of
from costrouter.reference.snippets.curl import KEY_HEADERS
from costrouter.reference.snippets.literals import as_json


@cache
def _section(name: str, language: str, level: int) -> SafeString:
    entry = ENTRIES[name]
    doc = entry.doc
    shown = as_json(doc.response) if not isinstance(doc.response, Binary) else ""
    return render_to_string(
        "reference/entry.html",
        {
            "entry": entry,
            "level": level,
            "doc": doc,
            "row": entry.endpoint,
            "key_header": KEY_HEADERS[entry.family] + KEY,
            "snippets": snippets_of(entry),
            "request_body": as_json(doc.request) if doc.request is not None and not doc.form else "",
            "response_body": shown,
            "stream": doc.stream.rstrip(),
            "bytes": doc.response.content_type if isinstance(doc.response, Binary) else "",
        },
    )


def section(entry: Entry, *, level: int) -> SafeString:
    """All about one endpoint, as HTML with marks; its headings are of this level."""
    return _section(entry.name, get_language() or "", level)


@cache
def _part(name: str, language: str, contact: str) -> SafeString:
    return render_to_string(
        f"reference/{name}.html",
        {
            "base": BASE,
            "key": KEY,
            "key_places": guides.KEY_PLACES,
            "streams": guides.STREAMS,
            "streaming": guides.STREAMING,
            "first": snippets_of(guides.CHAT),
            "chat_model": guides.CHAT.doc.models[0],
            "headers": guides.HEADERS,
            "sdks": guides.SDKS,
            "agents": guides.AGENTS,
            "common_errors": errors.COMMON,
            "errors": errors.by_status(),
            "error_samples": [
                (errors.DIALECT_NAMES[family], "json", as_json(errors.sample(family))) for family in errors.DIALECTS
            ],
            "contact": contact,
            "contact_href": contact if "://" in contact else f"mailto:{contact}",
            "categories": by_category(ENTRIES.values()),
        },
    )


def part(name: str) -> SafeString:
    """A part of the page that is no endpoint's, as HTML with marks."""
    return _part(name, get_language() or "", settings.CONTACT)


def nav_at(entry: Entry) -> SafeString:
    """The contents, with an endpoint marked as the page that is open."""
    mark = f'data-nav="{entry.anchor}"'
    return SafeString(part("nav").replace(mark, f'{mark} aria-current="page"'))


def counts() -> dict[str, int]:
    """What the page's head says."""
    return {"endpoints": len(MODEL_ENTRIES), "categories": len(MODEL_CATEGORIES)}


def reference(entries: Sequence[Entry]) -> list[tuple[Any, list[tuple[Entry, SafeString]]]]:
    """Categories with their endpoints, each with its HTML."""
    return [
        (category, [(entry, section(entry, level=5)) for entry in inside]) for category, inside in by_category(entries)
    ]
