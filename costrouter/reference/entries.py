"""Each endpoint of `relay.endpoints` with what `data/` tells of it: what the page, the document and the tests read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from costrouter.reference.data import ACCOUNT, CATEGORIES, DOCS, Category
from costrouter.reference.shapes import Doc, Param, Place
from relay.endpoints import ENDPOINTS, Endpoint
from relay.protocols.error_shapes import family

# What charges output tokens answers with text: any chat model can stand in the examples of these.
_TEXT = frozenset({"anthropic_count", "gemini_count"})


@dataclass(frozen=True, slots=True)
class Entry:
    """An endpoint: its row there, and its words here."""

    endpoint: Endpoint
    doc: Doc
    category: Category

    @property
    def name(self) -> str:
        """Its name, and the last part of its page's address."""
        return self.endpoint.name

    @property
    def anchor(self) -> str:
        """Where it is on the page. Prefixed: every page has something called "messages"."""
        return f"api-{self.endpoint.name}"

    @property
    def is_websocket(self) -> bool:
        return self.endpoint.protocol == "realtime"

    @property
    def takes_any_chat_model(self) -> bool:
        """Whether the example's model may be any that answers with text."""
        row = self.endpoint
        return row.protocol in _TEXT or ("output" in row.units and "input" in row.units and not self.is_websocket)

    @property
    def family(self) -> str:
        """Whose shape its errors have: "openai", "anthropic" or "gemini"."""
        if self.endpoint.name == "gemini.models":
            return "gemini"
        return family(self.endpoint.protocol)

    @property
    def content_type(self) -> str:
        """Of its request; empty where it has no body."""
        if self.doc.form:
            return "multipart/form-data"
        return "application/json" if self.doc.request is not None else ""

    @property
    def filled_path(self) -> str:
        """The path of the example, its query included."""
        path = self.endpoint.path
        for name, value in self.doc.path.items():
            path = path.replace("{" + name + "}", value)
        query = "&".join(f"{name}={value}" for name, value in self.doc.query.items())
        return f"{path}?{query}" if query else path

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(self.doc.provider.split(", "))

    def params(self, *places: Place) -> tuple[Param, ...]:
        return tuple(param for param in self.doc.params if param.place in places)


_CATEGORIES = {category.name: category for category in CATEGORIES}
ENTRIES: dict[str, Entry] = {row.name: Entry(row, DOCS[row.name], _CATEGORIES[row.category]) for row in ENDPOINTS}
assert ENTRIES.keys() == DOCS.keys(), DOCS.keys() - ENTRIES.keys()

MODEL_ENTRIES = tuple(entry for entry in ENTRIES.values() if entry.endpoint.category != ACCOUNT)
MODEL_CATEGORIES = tuple(dict.fromkeys(entry.category for entry in MODEL_ENTRIES))
METHODS = tuple(dict.fromkeys(entry.endpoint.method for entry in ENTRIES.values()))
PROVIDERS = tuple(dict.fromkeys(provider for entry in ENTRIES.values() for provider in entry.providers))


def by_category(entries: Iterable[Entry]) -> list[tuple[Category, list[Entry]]]:
    """Entries under their categories, both in the order of the tables; categories without any left out."""
    found = list(entries)
    groups = [(category, [entry for entry in found if entry.category is category]) for category in CATEGORIES]
    return [(category, inside) for category, inside in groups if inside]


def search(
    *, text: str = "", method: str = "", category: str = "", provider: str = "", entries: Iterable[Entry] | None = None
) -> list[Entry]:
    """Entries that have every word of `text` in their name, path, title, summary or parameters, and match the rest."""
    words = text.casefold().split()
    return [
        entry
        for entry in (ENTRIES.values() if entries is None else entries)
        if (not method or entry.endpoint.method == method)
        and (not category or entry.category.slug == category)
        and (not provider or provider in entry.providers)
        and all(word in haystack(entry) for word in words)
    ]


def haystack(entry: Entry) -> str:
    """What a search looks through."""
    doc, row = entry.doc, entry.endpoint
    said = [row.name, row.method, row.path, *row.aliases, doc.title, doc.summary, doc.provider]
    return " ".join(map(str, [*said, *doc.models, *(param.name for param in doc.params)])).casefold()
