"""What models an organization may use, where, and at which price: for the console and the management API.

It crosses channels and billing, and asks the relay which endpoints a channel can serve, so it lives above them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

from django.db.models import F, Q
from django.utils import timezone

from billing.models import Price
from billing.pricing.rates import PriceInfo
from billing.selectors import price_info, with_price_in_force
from channels_app.models import CatalogueModel, Channel, ChannelModel, ModelGroup
from costrouter.lib.units import UNITS
from costrouter.lib.upstreams import effective_dialects
from relay.endpoints import ENDPOINTS, Endpoint
from relay.exchange.convert import can_be_asked
from relay.upstream.providers import PROVIDERS
from relay.videos.apis import api_of

MOST_HISTORY = 100


@dataclass(frozen=True, slots=True)
class GroupRate:
    """A group that the organization may use, and what it multiplies a list price by."""

    name: str
    description: str
    rate: Decimal

    def prices(self, units: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Prices at this group's rate, exactly: USD for as many of a unit as its list price pays for."""
        with localcontext() as exact:
            exact.prec = 80
            return {name: units[name] * self.rate for name in UNITS if name in units}


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that an organization may use now.

    `price`: the standard list price in force. `tiers`: other tiers in force, by name. `groups`: those of the
    organization's in which an enabled channel serves it. `endpoints`: charged ones that its prices and those channels
    cover, in the order of `relay.endpoints`. `cap_field`: what limits the output tokens of a chat completion there.
    """

    model: CatalogueModel
    price: PriceInfo
    tiers: tuple[PriceInfo, ...]
    groups: tuple[GroupRate, ...]
    endpoints: tuple[Endpoint, ...]
    cap_field: str

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of its endpoints."""
        return tuple(dict.fromkeys(endpoint.category for endpoint in self.endpoints))

    @property
    def chats(self) -> bool:
        """Whether it answers on `/v1/chat/completions`."""
        return any(endpoint.protocol == "chat" for endpoint in self.endpoints)

    @property
    def long_units(self) -> dict[str, Decimal]:
        """The list prices of a long context; empty where length makes no difference."""
        return {**self.price.units, **self.price.long_units} if self.price.long_above is not None else {}


@dataclass(frozen=True, slots=True)
class _Channel:
    """What of a channel decides what it can be asked, and in which of the reader's groups it is."""

    provider: str
    base_url: str
    dialects: tuple[str, ...]
    priority: int
    groups: set[str]


@dataclass(frozen=True, slots=True)
class _Way:
    """A channel's place for a model."""

    channel: _Channel
    upstream_name: str

    @property
    def kind(self) -> tuple[str, tuple[str, ...], str]:
        """What decides which endpoints it can be asked on: few providers look at the model's name."""
        provider = self.channel.provider
        name = self.upstream_name if PROVIDERS[provider].spoken is not None else ""
        return provider, self.channel.dialects, name

    @property
    def cap_field(self) -> str:
        return PROVIDERS[self.channel.provider].cap_field(self.channel.base_url)


def model_groups(*, organization_id: int) -> list[GroupRate]:
    """The groups that admit an organization, by name."""
    rows = ModelGroup.objects.filter(Q(is_public=True) | Q(organizations=organization_id)).distinct().order_by("name")
    return [GroupRate(row.name, row.description, row.rate) for row in rows]


def model_offers(*, organization_id: int) -> list[Offer]:
    """Every model that an organization may use now, by name. Five queries.

    The rules are those of `relay.routing.resolve` and `relay.reading.models_list`: a group admits the organization, an
    enabled channel in that group serves the model, and it has a standard price in force.
    """
    return _offers(organization_id, names=None)


def model_offer(*, organization_id: int, name: str) -> Offer | None:
    """One model for an organization, or None where it may not use it."""
    found = _offers(organization_id, names=[name])
    return found[0] if found else None


def _offers(organization_id: int, names: Sequence[str] | None) -> list[Offer]:
    groups = {group.name: group for group in model_groups(organization_id=organization_id)}
    channels = _channels(groups)
    places = ChannelModel.objects.filter(channel_id__in=channels)
    if names is not None:
        places = places.filter(model__name__in=names)
    by_model: dict[int, list[tuple[_Channel, str]]] = {}
    for channel_id, model_id, upstream_name in places.values_list("channel_id", "model_id", "upstream_name"):
        by_model.setdefault(model_id, []).append((channels[channel_id], upstream_name))
    found = list(CatalogueModel.objects.filter(pk__in=list(by_model)).order_by("name"))
    standard, tiers = _prices(model.name for model in found)
    memory: dict[Any, tuple[Endpoint, ...]] = {}
    offers = []
    for model in found:
        price = standard.get(model.name)
        if price is None:
            continue
        ways = [_Way(channel, name or model.name) for channel, name in by_model[model.pk]]
        serving = {name for way in ways for name in way.channel.groups}
        offers.append(
            Offer(
                model=model,
                price=price,
                tiers=tuple(tiers.get(model.name, ())),
                groups=tuple(group for name, group in groups.items() if name in serving),
                endpoints=_endpoints_of(model, price, ways, memory),
                cap_field=max(ways, key=lambda way: way.channel.priority).cap_field,
            )
        )
    return offers


def _channels(groups: Iterable[str]) -> dict[int, _Channel]:
    """The enabled channels in any of these groups, by number."""
    rows = Channel.objects.filter(status=Channel.Status.ENABLED, groups__name__in=list(groups))
    found: dict[int, _Channel] = {}
    for number, provider, base_url, dialects, priority, group in rows.values_list(
        "pk", "provider", "base_url", "dialects", "priority", "groups__name"
    ):
        if number not in found:
            found[number] = _Channel(provider, base_url, effective_dialects(provider, dialects), priority, set())
        found[number].groups.add(group)
    return found


def _prices(names: Iterable[str]) -> tuple[dict[str, PriceInfo], dict[str, list[PriceInfo]]]:
    """The prices in force: the standard one, and those of other tiers, by model name."""
    rows = with_price_in_force(Price.objects.filter(model_name__in=list(names), effective_from__lte=timezone.now()))
    standard: dict[str, PriceInfo] = {}
    tiers: dict[str, list[PriceInfo]] = {}
    for row in rows.filter(pk=F("in_force_id")).order_by("model_name", "tier"):
        if row.tier == Price.STANDARD:
            standard[row.model_name] = price_info(row)
        else:
            tiers.setdefault(row.model_name, []).append(price_info(row))
    return standard, tiers


# Which endpoints a model is for, by protocol: (units with a price of their own, input modalities, output modalities).
# The relay would let a chat model's tokens through to `/v1/embeddings` too; its upstream would refuse it.
_Words = frozenset[str]
_Fits = Callable[[_Words, _Words, _Words], bool]


def _converses(units: _Words, inputs: _Words, outputs: _Words) -> bool:
    return {"input", "output"} <= units and "text" in outputs


def _embeds(units: _Words, inputs: _Words, outputs: _Words) -> bool:
    return "input" in units and "output" not in units


def _paints(units: _Words, inputs: _Words, outputs: _Words) -> bool:
    return bool(units & {"images", "image_out"}) or "image" in outputs


def _hears(units: _Words, inputs: _Words, outputs: _Words) -> bool:
    return "audio" in inputs and "audio" not in outputs


FITS: dict[str, _Fits] = {
    **dict.fromkeys(("chat", "completions", "responses", "responses_compact", "anthropic", "gemini"), _converses),
    **dict.fromkeys(("embeddings", "gemini_embed"), _embeds),
    "rerank": lambda units, inputs, outputs: "searches" in units or _embeds(units, inputs, outputs),
    "moderations": lambda units, inputs, outputs: "calls" in units and not units & {"seconds", "searches"},
    **dict.fromkeys(("images", "image_edits", "image_variations"), _paints),
    "speech": lambda units, inputs, outputs: "characters" in units,
    **dict.fromkeys(("transcriptions", "translations"), _hears),
    "videos": lambda units, inputs, outputs: "audio" not in inputs and bool(units & {"seconds", "calls"}),
    "realtime": lambda units, inputs, outputs: "audio" in inputs and "audio" in outputs,
}
CHARGED = tuple(endpoint for endpoint in ENDPOINTS if endpoint.units)


def _endpoints_of(
    model: CatalogueModel, price: PriceInfo, ways: Iterable[_Way], memory: dict[Any, tuple[Endpoint, ...]]
) -> tuple[Endpoint, ...]:
    """The charged endpoints that a price pays for, that suit what the model takes and gives, and a channel serves.

    `memory`: what was found for others, for most models of a site are alike in this.
    """
    units, inputs, outputs = frozenset(price.units), *map(frozenset, (model.input_modalities, model.output_modalities))
    kinds = frozenset(way.kind for way in ways)
    alike = (units, inputs, outputs, kinds)
    if alike not in memory:
        fitting = [
            endpoint
            for endpoint in CHARGED
            if units.intersection(endpoint.units) and FITS[endpoint.protocol](units, inputs, outputs)
        ]
        served = {name for name in {row.protocol for row in fitting} if any(_takes(kind, name) for kind in kinds)}
        memory[alike] = tuple(endpoint for endpoint in fitting if endpoint.protocol in served)
    return memory[alike]


def _takes(kind: tuple[str, tuple[str, ...], str], protocol: str) -> bool:
    provider, dialects, upstream_name = kind
    if protocol == "videos":
        return api_of(provider) is not None
    return can_be_asked(PROVIDERS[provider], protocol, upstream_name, dialects)


@dataclass(frozen=True, slots=True)
class Search:
    """What a reader looks for among offers; empty: anything. `modality`: "image in", "audio out" and the like."""

    text: str = ""
    category: str = ""
    modality: str = ""
    group: str = ""
    owner: str = ""

    def __bool__(self) -> bool:
        return any((self.text, self.category, self.modality, self.group, self.owner))


def modalities(offer: Offer) -> list[str]:
    """What a model takes and gives: "text in", "image in", "text out"."""
    model = offer.model
    return [f"{kind} in" for kind in model.input_modalities] + [f"{kind} out" for kind in model.output_modalities]


def matching(offers: Iterable[Offer], search: Search) -> list[Offer]:
    """The offers that have every word of the text in their name, display name or owner, and match the rest."""
    words = search.text.casefold().split()
    return [
        offer
        for offer in offers
        if (not search.category or search.category in offer.categories)
        and (not search.modality or search.modality in modalities(offer))
        and (not search.group or any(group.name == search.group for group in offer.groups))
        and (not search.owner or offer.model.owned_by == search.owner)
        and all(word in _haystack(offer.model) for word in words)
    ]


def _haystack(model: CatalogueModel) -> str:
    return f"{model.name} {model.display_name} {model.owned_by}".casefold()


def price_history(*, name: str) -> list[tuple[PriceInfo, bool, bool]]:
    """The last hundred prices of a model, the latest to take effect first: (price, in force now, still to come)."""
    now: datetime = timezone.now()
    rows = Price.objects.filter(model_name=name).order_by("-effective_from", "-pk")[:MOST_HISTORY]
    seen: set[str] = set()
    history = []
    for row in rows:
        is_future = row.effective_from > now
        in_force = not is_future and row.tier not in seen
        if in_force:
            seen.add(row.tier)
        history.append((price_info(row), in_force, is_future))
    return history
