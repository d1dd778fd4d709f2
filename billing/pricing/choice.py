"""Which entry of the `genai-prices` data a model's price is taken from. Pure, like `billing.pricing.seed`.

An entry has an id and a clause that tells which names it stands for ("starts with gpt-4o-mini"). Resellers list
the makers' models too, so of several entries for a name the maker's wins: the provider whose own clause claims it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genai_prices.types import ModelInfo, Provider


@dataclass(frozen=True, slots=True)
class Choice:
    """A model as clients name it, and the entry that prices it."""

    name: str
    provider: Provider
    model: ModelInfo


@dataclass(frozen=True, slots=True)
class Skipped:
    """A model that gets no price, with the reason for people."""

    name: str
    provider: str
    reason: str


def pick_providers(data: Sequence[Provider], ids: Iterable[str] | None) -> list[Provider]:
    """The providers of these ids, each once, in the order given; all where `ids` is None. Raises ValueError."""
    by_id = {provider.id: provider for provider in data}
    wanted = list(dict.fromkeys(by_id if ids is None else ids))
    unknown = [name for name in wanted if name not in by_id]
    if unknown:
        raise ValueError(f"no provider {', '.join(unknown)} in genai-prices; there are {', '.join(sorted(by_id))}")
    return [by_id[name] for name in wanted]


def choose_all(providers: Sequence[Provider]) -> tuple[list[Choice], list[Skipped]]:
    """Every current model of these providers, under its id."""
    offers: dict[str, list[Choice]] = {}
    skipped: list[Skipped] = []
    for provider in providers:
        for model in provider.models:
            if model.deprecated:
                skipped.append(Skipped(model.id, provider.id, "deprecated; name it to seed it all the same"))
            elif model.id.endswith("-") or not model.is_match(model.id):
                skipped.append(Skipped(model.id, provider.id, "stands for names that clients send; name one of them"))
            else:
                offers.setdefault(model.id, []).append(Choice(model.id, provider, model))
    chosen: list[Choice] = []
    for name, found in offers.items():
        choice, left = _settle(name, found, providers)
        chosen += [choice] if choice else []
        skipped += left
    return chosen, skipped


def choose_named(providers: Sequence[Provider], names: Iterable[str]) -> tuple[list[Choice], list[Skipped]]:
    """The entry for each name, by id, else by the clause of an entry. A deprecated model is chosen where named."""
    chosen: list[Choice] = []
    skipped: list[Skipped] = []
    for name in dict.fromkeys(names):
        found = [Choice(name, p, model) for p in providers if (model := _find(p, name)) is not None]
        if not found:
            looked_in = ", ".join(p.id for p in providers) if len(providers) < 10 else f"{len(providers)} providers"
            skipped.append(Skipped(name, "", f"not in the data of {looked_in}"))
            continue
        choice, left = _settle(name, found, providers)
        if choice:
            chosen.append(choice)
        else:
            skipped += left
    return chosen, skipped


def _find(provider: Provider, name: str) -> ModelInfo | None:
    exact = next((model for model in provider.models if model.id == name), None)
    return exact or provider.find_model(name)


def _settle(name: str, found: list[Choice], providers: Sequence[Provider]) -> tuple[Choice | None, list[Skipped]]:
    """Of several offers of one name, the maker's; and why the others are not taken."""
    maker = next((p for p in providers if p.model_match and p.model_match.is_match(name) and _find(p, name)), None)
    if maker is not None:
        own = next((choice for choice in found if choice.provider is maker), None)
        reason = f"{maker.id} makes it, and its data price it; name it to seed it"
        if own is not None:
            reason = f"{maker.id}, its maker, lists it"
        return own, [Skipped(name, c.provider.id, reason) for c in found if c.provider is not maker]
    if len(found) == 1:
        return found[0], []
    hosts = ", ".join(choice.provider.id for choice in found)
    return None, [Skipped(name, "", f"listed by {hosts}, none of which makes it; choose one provider")]
