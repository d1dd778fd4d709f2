"""The models that a key may use now, in the shape of the client that asks: OpenAI's, Anthropic's or Gemini's.

`/v1/models` follows the client's headers, `/v1beta/models` is Gemini's always. Sources: the types of the official SDKs
(openai `types/model.py`, anthropic `types/model_info.py` and `pagination.py`, google-genai `types.Model`); context
length, modalities and prices beside OpenAI's own fields are named as in OpenRouter's list.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any
from urllib.parse import parse_qs

import msgspec

from accounts.selectors import KeyInfo
from billing.models import Price
from billing.pricing.rates import PriceInfo
from channels_app.snapshot import ModelInfo
from costrouter.lib.units import UNITS
from relay.errors import RelayError
from relay.exchange.context import Context
from relay.exchange.reply import Reply, send_reply
from relay.exchange.runtime import Runtime
from relay.protocols.error_shapes import family
from relay.routing import resolve as routing
from relay.snapshot import Snapshot, utc_now

# Our units, as OpenRouter's `pricing` calls them; the last three are ours.
_PRICE_NAMES = {
    "input": "prompt",
    "output": "completion",
    "cache_read": "input_cache_read",
    "cache_write_5m": "input_cache_write",
    "cache_write_1h": "input_cache_write_1h",
    "reasoning": "internal_reasoning",
    "audio_in": "audio",
    "audio_out": "audio_output",
    "image_in": "image_token",
    "image_out": "image_output",
    "searches": "web_search",
    "calls": "request",
    "images": "image_made",
    "seconds": "second",
    "characters": "character",
}
_ANTHROPIC_PAGE, _GEMINI_PAGE, _LARGEST_PAGE = 20, 50, 1_000


@dataclass(frozen=True, slots=True)
class Offer:
    """A model with the price that is in force for it, and the rate of the key's group."""

    model: ModelInfo
    price: PriceInfo
    rate: Decimal


async def list_models(ctx: Context, runtime: Runtime, _: str) -> None:
    """`GET /v1/models` and `GET /v1beta/models`."""
    assert ctx.caller is not None
    query = parse_qs(ctx.query)
    found = offers(ctx.caller.key, runtime.snapshot, utc_now())
    await _send(ctx, _LISTS[shape_of(ctx)](found, query))


async def get_model(ctx: Context, runtime: Runtime, name: str) -> None:
    """`GET /v1/models/{model}` and `GET /v1beta/models/{model}`."""
    assert ctx.caller is not None
    offer = offer_of(name, ctx.caller.key, runtime.snapshot, utc_now())
    await _send(ctx, _MODELS[shape_of(ctx)](offer))


async def _send(ctx: Context, value: object) -> None:
    await send_reply(ctx, Reply(200, [(b"content-type", b"application/json")], msgspec.json.encode(value)))


def shape_of(ctx: Context) -> str:
    """Whose shape a client reads: "openai", "anthropic" or "gemini"."""
    return family(ctx.endpoint.protocol)


def shape_by_headers(headers: Mapping[bytes, bytes]) -> str:
    """The shape that a client's headers imply on a path that all of them ask: a version goes before a key."""
    if b"anthropic-version" in headers:
        return "anthropic"
    return "gemini" if b"x-goog-api-key" in headers else "openai"


def offers(key: KeyInfo, snapshot: Snapshot, at: datetime) -> list[Offer]:
    """What a key may use at a moment and has a price, by name. Raises `group_not_allowed`."""
    rate = routing.group_of(key, snapshot.routing).rate
    models = routing.visible_models(key, snapshot.routing)
    priced = ((model, snapshot.price(model.name, Price.STANDARD, at)) for model in models)
    return [Offer(model, price, rate) for model, price in priced if price is not None]


def offer_of(name: str, key: KeyInfo, snapshot: Snapshot, at: datetime) -> Offer:
    """One model for a key. Raises RelayError as a request for it would: unknown, not allowed, off, unpriced."""
    route = routing.resolve(name, key, snapshot.routing)
    price = snapshot.price(name, Price.STANDARD, at)
    if price is None:
        raise RelayError("unpriced_model", f"The model {name} has no price here yet.", param="model")
    return Offer(route.model, price, route.group.rate)


def openai_model(offer: Offer) -> dict[str, Any]:
    """OpenAI's object, with what OpenRouter's has of sizes, modalities and prices."""
    model, price = offer.model, offer.price
    shown: dict[str, Any] = {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by or "costrouter",
        "name": model.display_name or model.name,
        "context_length": model.context_window,
        "max_output_tokens": model.max_output,
        "architecture": {"input_modalities": model.input_modalities, "output_modalities": model.output_modalities},
        "pricing": prices(price.units, offer.rate),
    }
    if price.long_above is not None:
        shown["long_context"] = {
            "above_input_tokens": price.long_above,
            "pricing": prices({**price.units, **price.long_units}, offer.rate),
        }
    return shown


def prices(units: Mapping[str, Decimal], rate: Decimal) -> dict[str, str]:
    """USD for one token, call, image, … at a group's rate, as exact decimals ("0.00000015")."""
    with localcontext() as exact:
        exact.prec = 80
        return {
            _PRICE_NAMES[name]: f"{(units[name] * rate / UNITS[name].per).normalize():f}"
            for name in UNITS
            if name in units
        }


def openai_list(found: Sequence[Offer], _: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """`{"object": "list", "data": […]}`: all of them, by name."""
    return {"object": "list", "data": [openai_model(offer) for offer in found]}


def anthropic_model(offer: Offer) -> dict[str, Any]:
    """Anthropic's ModelInfo. What the catalogue does not know is null, as the type allows."""
    model = offer.model
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.display_name or model.name,
        "created_at": f"{datetime.fromtimestamp(model.created, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": None,
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output,
        "capabilities": None,
    }


def anthropic_list(found: Sequence[Offer], query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A page, the newest first: `limit` (20, at most 1,000) models after `after_id`, or just before `before_id`.

    Raises `invalid_request`.
    """
    size = _size(query, "limit", _ANTHROPIC_PAGE)
    stages = [*query.get("lifecycle", ()), *query.get("lifecycle[]", ())]
    ordered = sorted(found, key=lambda offer: (-offer.model.created, offer.model.name))
    if stages and "active" not in stages:
        ordered = []
    names = [offer.model.name for offer in ordered]
    if "before_id" in query:
        end = _position(names, query, "before_id")
        start = max(0, end - size)
        more = start > 0
    else:
        start = _position(names, query, "after_id") + 1 if "after_id" in query else 0
        end = start + size
        more = end < len(names)
    page = ordered[start:end]
    return {
        "data": [anthropic_model(offer) for offer in page],
        "has_more": more,
        "first_id": page[0].model.name if page else None,
        "last_id": page[-1].model.name if page else None,
    }


def _position(names: list[str], query: Mapping[str, Sequence[str]], name: str) -> int:
    asked = query[name][-1]
    if asked not in names:
        raise RelayError("invalid_request", f"{name}: there is no model {asked!r} in this list.", param=name)
    return names.index(asked)


def gemini_model(offer: Offer) -> dict[str, Any]:
    """Gemini's Model; sizes that the catalogue does not know are left out."""
    model = offer.model
    shown: dict[str, Any] = {
        "name": f"models/{model.name}",
        "version": "1",
        "displayName": model.display_name or model.name,
    }
    if model.context_window is not None:
        shown["inputTokenLimit"] = model.context_window
    if model.max_output is not None:
        shown["outputTokenLimit"] = model.max_output
    return {**shown, "supportedGenerationMethods": _methods(offer.price)}


def _methods(price: PriceInfo) -> list[str]:
    """What Gemini's clients may ask of a model. One that has a price for its input alone makes embeddings."""
    if "output" in price.units:
        return ["generateContent", "streamGenerateContent", "countTokens"]
    return ["embedContent", "batchEmbedContents"] if "input" in price.units else []


def gemini_list(found: Sequence[Offer], query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A page of `pageSize` (50, at most 1,000) models by name, and the `nextPageToken` where there are more.

    A token stands for the last name before it, so that a model that comes or goes meanwhile disturbs nothing.
    Raises `invalid_request`.
    """
    size = _size(query, "pageSize", _GEMINI_PAGE)
    if "pageToken" in query:
        last = _read_token(query["pageToken"][-1])
        found = [offer for offer in found if offer.model.name > last]
    page = found[:size]
    shown: dict[str, Any] = {"models": [gemini_model(offer) for offer in page]}
    if len(found) > size:
        shown["nextPageToken"] = base64.urlsafe_b64encode(page[-1].model.name.encode()).decode()
    return shown


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise RelayError("invalid_request", "pageToken is not one that was given here.", param="pageToken") from None


def _size(query: Mapping[str, Sequence[str]], name: str, default: int) -> int:
    text = query[name][-1] if name in query else str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise RelayError("invalid_request", f"{name} must be a whole number from 1 to {_LARGEST_PAGE:,}.", param=name)
    return min(int(text), _LARGEST_PAGE)


_LISTS = {"openai": openai_list, "anthropic": anthropic_list, "gemini": gemini_list}
_MODELS = {"openai": openai_model, "anthropic": anthropic_model, "gemini": gemini_model}
