"""Gemini's generateContent and streamGenerateContent, the request: what it may cost, and what changes on the way.

Source of the format: the request types of the google-genai 3.4 package. The model and the action are in the path, so a
body travels on as it was sent, save what bounds its output. Google's own stream is a JSON array, an event of which is a
response; with `?alt=sse` it is server-sent events. The upstream is always asked for the latter.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Feature, Request, Target
from relay.protocols.fields import (
    MAX_CAP,
    Fields,
    integer,
    list_of,
    no_deep_nesting,
    read_object,
    string,
    top_level,
    value_of,
)
from relay.protocols.gemini.fields import camel, count_text, object_of, objects, read_content, stored, top

MAX_CHOICES = 128
_encode = msgspec.json.encode

GENERATE, STREAM = "generateContent", "streamGenerateContent"
# State that is stored upstream, under an account that many tenants share.
STORED = ("cachedContent", "continuationToken")
# These let the upstream choose another model, or add work or storage of its own: no price here covers that.
UNPRICED = ("routingConfig", "modelSelectionConfig", "modelArmorConfig", "generationOutputConfig")
# Fields that the upstream does not read as input. The text of any other counts as such.
_NOT_INPUT = frozenset(
    ("contents", "systemInstruction", "generationConfig", "safetySettings", "labels", "serviceTier", "store", "model")
)
_SCHEMAS = ("responseSchema", "responseJsonSchema", "responseFormat")
_MADE = {"AUDIO": "audio_out", "IMAGE": "image_out"}
_SEARCHES = ("googleSearch", "googleSearchRetrieval")


@dataclass(frozen=True, slots=True)
class Options:
    """What the answer's files need to know of the request. `sse`: the client reads server-sent events."""

    action: str
    sse: bool = True


def read_path(path: str, actions: tuple[str, ...]) -> tuple[str, str, str]:
    """Model, action and query of "MODEL:ACTION" or "MODEL:ACTION?QUERY". Raises `not_found`, `missing_model`."""
    name, _, query = path.partition("?")
    model, _, action = name.removeprefix("models/").rpartition(":")
    if action not in actions:
        raise RelayError("not_found", f"There is no such method: {action[:100]}.")
    if not model:
        raise RelayError("missing_model", "You must name a model in the path.", param="model")
    if model.startswith("tunedModels/"):
        raise RelayError("model_not_found", "Tuned models are not served here.", param="model")
    return model, action, query


def parse(body: bytes, path: str) -> Request:
    """Read a request. Raises RelayError: bad JSON, a quantity out of bounds, a field that cannot be relayed."""
    model, action, query = read_path(path, (GENERATE, STREAM))
    with no_deep_nesting():
        request = read_generate(read_object(body), model)
    request.stream = action == STREAM
    alts = {camel(name).lstrip("$"): value for name, value in parse_qsl(query)}
    alt = alts.get("alt", "json")
    if alt not in ("json", "sse"):
        raise RelayError("invalid_request", "alt must be sse or json.", param="alt")
    request.options = Options(action, sse=alt == "sse")
    return request


def stream_content_type(request: Request) -> bytes:
    """The content type of a streamed answer: server-sent events, or a JSON array."""
    options: Options = request.options
    return b"text/event-stream; charset=utf-8" if options.sse else b"application/json; charset=UTF-8"


def read_generate(sent: Fields, model: str) -> Request:
    """A `GenerateContentRequest`, as it bounds cost. Its `fields` are by lowerCamelCase names, nulls left out."""
    fields = top(sent)
    for name in STORED:
        if name in fields:
            raise stored(name)
    config = generation_config(fields)
    for name in UNPRICED:
        if name in fields or name in config:
            raise RelayError("unpriced_feature", f"{name} cannot be relayed: it has no price here.", param=name)
    request = Request(
        dialect="gemini",
        fields=fields,
        model=model,
        choices=_quantity(config, "candidateCount", MAX_CHOICES) or 1,
        cap=_quantity(config, "maxOutputTokens", MAX_CAP),
        has_tools="tools" in fields,
        features=_features(fields, config),
    )
    if any(feature.unit == "searches" for feature in request.features):
        request.pieces["searches"] = 1
    contents = objects(value_of(fields, "contents"), "contents")
    if not contents:
        raise RelayError("invalid_request", "contents must be a list with at least one content.", param="contents")
    request.messages = len(contents)
    read_content(contents, "contents", request)
    read_content(object_of(value_of(fields, "systemInstruction"), "systemInstruction"), "systemInstruction", request)
    read = [raw for name, raw in fields.items() if name not in _NOT_INPUT and bytes(raw)[:1] in (b'"', b"[", b"{")]
    count_text(request, [*read, *(config[name] for name in _SCHEMAS if name in config)])
    return request


def generation_config(fields: Fields) -> Fields:
    """`generationConfig` by lowerCamelCase names, nulls left out."""
    raw = fields.get("generationConfig")
    if raw is None:
        return {}
    try:
        return top(top_level.decode(raw), "generationConfig.")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RelayError("invalid_request", "generationConfig must be an object.", param="generationConfig") from error


def _quantity(config: Fields, name: str, most: int) -> int | None:
    """A whole number of at least 1. Proto JSON reads a string of digits as a number; here it is refused."""
    try:
        return integer(config, name, 1, most)
    except RelayError as error:
        raise RelayError(error.code, f"generationConfig.{error.message}", param=f"generationConfig.{name}") from error


def _features(fields: Fields, config: Fields) -> list[Feature]:
    """The fields of a request that change what the upstream charges."""
    found = []
    tier = (string(fields, "serviceTier") or "").lower().removeprefix("service_tier_")
    if tier not in ("", "unspecified", "standard"):
        found.append(Feature("serviceTier", tier=tier))
    for modality in list_of(config, "responseModalities"):
        if not isinstance(modality, str):
            raise RelayError(
                "invalid_request", "responseModalities must be a list of strings.", param="generationConfig"
            )
        if modality.upper() not in ("TEXT", "MODALITY_UNSPECIFIED"):
            found.append(Feature("generationConfig.responseModalities", unit=_MADE.get(modality.upper())))
    formats = value_of(config, "responseFormat")
    for item in objects(formats if isinstance(formats, list) else [formats] if formats else None, "responseFormat"):
        for made in item:
            if made != "text":
                found.append(Feature("generationConfig.responseFormat", unit=_MADE.get(made.upper())))
    for number, tool in enumerate(objects(value_of(fields, "tools"), "tools")):
        for name in tool:
            if name in _SEARCHES:
                found.append(Feature(f"tools[{number}].{name}", unit="searches"))
            elif name != "functionDeclarations":
                found.append(Feature(f"tools[{number}].{name}"))
    return found


def upstream_body(request: Request, target: Target) -> bytes:
    """The body for an upstream: our cap if there is one, and nothing kept there. The model is in its path."""
    fields = dict(request.fields)
    fields.pop("model", None)
    if "store" in fields:
        fields["store"] = msgspec.Raw(b"false")
    config = generation_config(fields)
    if target.cap is not None:
        config["maxOutputTokens"] = msgspec.Raw(_encode(target.cap))
    if config:
        fields["generationConfig"] = msgspec.Raw(_encode(config))
    return _encode(fields)
