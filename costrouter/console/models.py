"""Models: what the organization may use, searched and filtered; and a page for each with its prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from costrouter.console.access import ConsoleRequest, console_page
from costrouter.lib.units import UNITS, Unit
from costrouter.members import offers as catalogue
from costrouter.members.offers import GroupRate, Offer, Search
from costrouter.reference.entries import ENTRIES
from costrouter.reference.snippets import Reader, filled, snippets_of
from costrouter.sign_in.links import base_url
from relay.endpoints import ENDPOINTS

PAGE_SIZE = 50
# What a row of the list says of a price; a model's own page says all.
MOST_LINES = 3
FIRST = ("input", "cache_read", "output")
# Groups beyond these are on a model's own page.
MOST_GROUPS = 4
_MIXED = frozenset({"Embeddings, rerank, moderation", "Models and realtime"})
_FILTERS = ("category", "modality", "group", "owner")
MODALITIES = {
    "text in": _("Takes text"),
    "image in": _("Takes images"),
    "audio in": _("Takes audio"),
    "file in": _("Takes files"),
    "text out": _("Makes text"),
    "image out": _("Makes images"),
    "audio out": _("Makes audio"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A unit's price: its list price, and at the rate of each of the offer's groups."""

    unit: Unit
    listed: Decimal
    at_rates: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Prices that hold together: of a tier, or of long contexts."""

    title: Any
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A model in the list. `units`: those of its prices that are shown; `more`: how many are not.

    `cells`: a group → the prices of those units there, or None where the model is not in it.
    """

    offer: Offer
    kinds: tuple[str, ...]
    units: tuple[Unit, ...]
    cells: tuple[tuple[GroupRate, list[tuple[Unit, Decimal]] | None], ...]
    more: int


@console_page("models.view")
@require_safe
def index(request: ConsoleRequest) -> HttpResponse:
    """The models, with a search that answers while one types."""
    found = catalogue.model_offers(organization_id=request.member.organization_id)
    search = Search(text=_given(request, "q"), **{name: _given(request, name) for name in _FILTERS})
    matching = catalogue.matching(found, search)
    groups = _groups_of(found, search)
    page = Paginator(matching, PAGE_SIZE).get_page(request.GET.get("page"))
    query = request.GET.copy()
    query.pop("page", None)
    context = {
        "search": search,
        "page": page,
        "rows": [_row(offer, groups[:MOST_GROUPS]) for offer in page.object_list],
        "groups": groups[:MOST_GROUPS],
        "hidden_groups": len(groups[MOST_GROUPS:]),
        "query": query.urlencode(),
        "total": len(found),
    }
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "console/models_list.html", context)
    context["choices"] = _choices(found)
    return render(request, "console/models.html", context)


@console_page("models.view")
@require_safe
def detail(request: ConsoleRequest, name: str) -> HttpResponse:
    """A model: its prices in each group, what they were, where it answers, and a request to paste."""
    offer = catalogue.model_offer(organization_id=request.member.organization_id, name=name)
    if offer is None:
        raise Http404
    context = {
        "offer": offer,
        "tables": tables(offer),
        "history": catalogue.price_history(name=offer.name),
        "entries": [ENTRIES[endpoint.name] for endpoint in offer.endpoints],
        "snippets": _snippets(offer, base_url(request)),
    }
    return render(request, "console/model.html", context)


def _given(request: ConsoleRequest, name: str) -> str:
    return request.GET.get(name, "").strip()[:150]


def _groups_of(found: list[Offer], search: Search) -> list[GroupRate]:
    """The groups in which there is anything, or the one that is asked for."""
    groups = {group.name: group for offer in found for group in offer.groups}
    return [groups[name] for name in sorted(groups) if not search.group or name == search.group]


def _choices(found: list[Offer]) -> dict[str, list[tuple[str, Any]]]:
    """What can be chosen in each filter: only what would find something."""
    categories = {category for offer in found for category in offer.categories}
    kinds = {kind for offer in found for kind in catalogue.modalities(offer)}
    return {
        "category": [(name, name) for name in dict.fromkeys(row.category for row in ENDPOINTS) if name in categories],
        "modality": [(name, title) for name, title in MODALITIES.items() if name in kinds],
        "group": [(name, name) for name in sorted({group.name for offer in found for group in offer.groups})],
        "owner": [(name, name) for name in sorted({offer.model.owned_by for offer in found} - {""})],
    }


def _row(offer: Offer, groups: list[GroupRate]) -> Row:
    names = sorted(offer.price.units, key=lambda name: (name not in FIRST, list(UNITS).index(name)))
    shown = sorted(names[:MOST_LINES], key=list(UNITS).index)
    listed = {name: offer.price.units[name] for name in shown}
    own = {group.name for group in offer.groups}
    cells = tuple(
        (group, [(UNITS[name], usd) for name, usd in group.prices(listed).items()] if group.name in own else None)
        for group in groups
    )
    units = tuple(UNITS[name] for name in shown)
    return Row(offer, kinds_of(offer), units, cells, more=len(names) - len(shown))


def kinds_of(offer: Offer) -> tuple[str, ...]:
    """What a model is for, in few words: its categories, and of those that hold many things the endpoints."""
    words = (row.name.capitalize() if row.category in _MIXED else row.category for row in offer.endpoints)
    return tuple(dict.fromkeys(words))


def tables(offer: Offer) -> list[Table]:
    """All prices in force: standard, of long contexts, of other tiers."""
    found = [Table(_("Standard"), _lines(offer, offer.price.units))]
    if offer.price.long_above is not None:
        title = _("More than %(tokens)s input tokens") % {"tokens": f"{offer.price.long_above:,}"}
        found.append(Table(title, _lines(offer, offer.long_units)))
    for tier in offer.tiers:
        found.append(Table(tier.tier, _lines(offer, tier.units)))
        if tier.long_above is not None:
            title = _("%(tier)s, more than %(tokens)s input tokens") % {
                "tier": tier.tier,
                "tokens": f"{tier.long_above:,}",
            }
            found.append(Table(title, _lines(offer, {**tier.units, **tier.long_units})))
    return found


def _lines(offer: Offer, units: Mapping[str, Decimal]) -> tuple[Line, ...]:
    at_rates = [group.prices(units) for group in offer.groups]
    return tuple(
        Line(unit, units[name], tuple(prices[name] for prices in at_rates))
        for name, unit in UNITS.items()
        if name in units
    )


def _snippets(offer: Offer, base: str) -> list[tuple[str, str, str]]:
    """A request for this model on the first of its endpoints: (label, language, text)."""
    if not offer.endpoints:
        return []
    entry = ENTRIES[offer.endpoints[0].name]
    reader = Reader(base_url=base, model=offer.name)
    return [(snippet.label, snippet.lang, filled(snippet.text, reader)) for snippet in snippets_of(entry)]
