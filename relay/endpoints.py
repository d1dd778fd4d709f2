"""THE table of the relay's endpoints. The router, the docs page and the tests read it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and a path, one part of which may be a `{parameter}` (a model's name, which may contain slashes; an id).

    `protocol`: the client dialect, a row of `relay.protocols.DIALECTS` for what is forwarded; "models" stands for the
    caller's. `meter`: what is charged, for people; None for what is free and leaves no record. `units`: of these at
    least one must have a price of its own, else the model is unpriced here. `handler`: a function, `room.module.name`
    within `relay`. `aliases`: other paths.
    `holds_for`: its hold stands by itself for so many seconds, since what it starts outlives the process.
    """

    name: str
    method: str
    path: str
    category: str
    protocol: str
    meter: str | None
    handler: str
    units: tuple[str, ...] = ()
    aliases: tuple[str, ...] = field(default=())
    holds_for: int | None = None


_TOKENS = ("input", "output")
_EMBEDDINGS, _MODELS = "Embeddings, rerank, moderation", "Models and realtime"
_FORWARD, _UPLOAD = "exchange.pipeline.forward", "exchange.uploads.forward"
_RESPOND = "exchange.conversations.respond"
_IMAGES, _PICTURES = "images or tokens", ("images", "image_out", "output")
_SECONDS, _HEARD = "seconds or tokens", ("seconds", "audio_in", "input")
# What a video holds until the upstream has accepted it: longer than trying every channel may take.
_SUBMITS_FOR = 20 * 60


def _gemini(name: str, action: str, protocol: str, meter: str, handler: str, units: tuple[str, ...] = ()) -> Endpoint:
    """An action on a model, under `/v1beta` and (as Google's SDK has it since 3.x) under `/v1`."""
    path = "/models/{model}:" + action
    return Endpoint(name, "POST", "/v1beta" + path, "Gemini", protocol, meter, handler, units, ("/v1" + path,))


def _video(name: str, method: str, path: str, handler: str, meter: str | None = None) -> Endpoint:
    """A video's, in OpenAI's format: what starts one is charged, once it is made."""
    units, holds_for = (("seconds", "calls"), _SUBMITS_FOR) if meter is not None else ((), None)
    path = "/v1/videos" + path
    return Endpoint(f"videos.{name}", method, path, "Video", "videos", meter, handler, units, holds_for=holds_for)


ENDPOINTS = (
    Endpoint("chat.completions", "POST", "/v1/chat/completions", "Chat", "chat", "tokens", _FORWARD, _TOKENS),
    Endpoint("completions", "POST", "/v1/completions", "Chat", "completions", "tokens", _FORWARD, _TOKENS),
    Endpoint("responses", "POST", "/v1/responses", "Chat", "responses", "tokens", _RESPOND, _TOKENS),
    Endpoint(
        "responses.compact",
        "POST",
        "/v1/responses/compact",
        "Chat",
        "responses_compact",
        "tokens",
        _RESPOND,
        _TOKENS,
    ),
    Endpoint("messages", "POST", "/v1/messages", "Anthropic", "anthropic", "tokens", _FORWARD, _TOKENS),
    Endpoint(
        "messages.count_tokens",
        "POST",
        "/v1/messages/count_tokens",
        "Anthropic",
        "anthropic_count",
        "free",
        "reading.counting.count_tokens",
    ),
    _gemini("gemini.generate", "generateContent", "gemini", "tokens", _FORWARD, _TOKENS),
    _gemini("gemini.stream", "streamGenerateContent", "gemini", "tokens", _FORWARD, _TOKENS),
    _gemini("gemini.count_tokens", "countTokens", "gemini_count", "free", "reading.counting.count_tokens"),
    _gemini("gemini.embed", "embedContent", "gemini_embed", "tokens", _FORWARD, ("input",)),
    _gemini("gemini.batch_embed", "batchEmbedContents", "gemini_embed", "tokens", _FORWARD, ("input",)),
    Endpoint("embeddings", "POST", "/v1/embeddings", _EMBEDDINGS, "embeddings", "tokens", _FORWARD, ("input",)),
    Endpoint(
        "rerank",
        "POST",
        "/v1/rerank",
        _EMBEDDINGS,
        "rerank",
        "searches or tokens",
        _FORWARD,
        ("searches", "input", "calls"),
    ),
    Endpoint(
        "moderations", "POST", "/v1/moderations", _EMBEDDINGS, "moderations", "calls", _FORWARD, ("calls", "input")
    ),
    Endpoint("images.generations", "POST", "/v1/images/generations", "Images", "images", _IMAGES, _FORWARD, _PICTURES),
    Endpoint("images.edits", "POST", "/v1/images/edits", "Images", "image_edits", _IMAGES, _UPLOAD, _PICTURES),
    Endpoint(
        "images.variations", "POST", "/v1/images/variations", "Images", "image_variations", _IMAGES, _UPLOAD, _PICTURES
    ),
    Endpoint("audio.speech", "POST", "/v1/audio/speech", "Audio", "speech", "characters", _FORWARD, ("characters",)),
    Endpoint(
        "audio.transcriptions", "POST", "/v1/audio/transcriptions", "Audio", "transcriptions", _SECONDS, _UPLOAD, _HEARD
    ),
    Endpoint(
        "audio.translations", "POST", "/v1/audio/translations", "Audio", "translations", _SECONDS, _UPLOAD, _HEARD
    ),
    _video("create", "POST", "", "videos.submit.create", "seconds or calls"),
    _video("list", "GET", "", "videos.handlers.list_videos"),
    _video("get", "GET", "/{id}", "videos.handlers.get_video"),
    _video("content", "GET", "/{id}/content", "videos.handlers.content"),
    _video("delete", "DELETE", "/{id}", "videos.handlers.delete_video"),
    _video("remix", "POST", "/{id}/remix", "videos.handlers.remix", "seconds or calls"),
    Endpoint("models.list", "GET", "/v1/models", _MODELS, "models", None, "reading.models_list.list_models"),
    Endpoint(
        "models.get",
        "GET",
        "/v1/models/{model}",
        _MODELS,
        "models",
        None,
        "reading.models_list.get_model",
        aliases=("/v1beta/models/{model}",),
    ),
    Endpoint("gemini.models", "GET", "/v1beta/models", _MODELS, "models", None, "reading.models_list.list_models"),
    Endpoint(
        "realtime",
        "GET",
        "/v1/realtime",
        _MODELS,
        "realtime",
        "tokens",
        "realtime.websocket.upgrade_required",
        _TOKENS,
    ),
    Endpoint("account.generation", "GET", "/v1/generation", "Account", "chat", None, "reading.account.generation"),
    Endpoint("account.credits", "GET", "/v1/credits", "Account", "chat", None, "reading.account.credits"),
    Endpoint("account.key", "GET", "/v1/key", "Account", "chat", None, "reading.account.key"),
)

_EXACT: dict[tuple[str, str], Endpoint] = {}
_OPEN: list[tuple[str, str, Endpoint]] = []
for _endpoint in ENDPOINTS:
    for _path in (_endpoint.path, *_endpoint.aliases):
        _prefix, _brace, _rest = _path.partition("{")
        if _brace:
            _OPEN.append((_prefix, _rest.partition("}")[2], _endpoint))
        else:
            _EXACT[_endpoint.method, _path] = _endpoint
# `/v1/videos/{id}/content` before `/v1/videos/{id}`, whose parameter would take the rest.
_OPEN.sort(key=lambda row: -len(row[1]))
METHODS = tuple(dict.fromkeys(endpoint.method for endpoint in ENDPOINTS))


def match(method: str, path: str) -> tuple[Endpoint, str] | None:
    """The endpoint for a request and its path parameter, or None. The path is decoded already, as ASGI has it.

    A parameter keeps what follows it after a colon (`gemini-2.5-flash:generateContent`): it is the dialect's to read.
    """
    found = _EXACT.get((method, path))
    if found is not None:
        return found, ""
    for prefix, suffix, endpoint in _OPEN:
        if endpoint.method == method and path.startswith(prefix) and path.endswith(suffix):
            end = len(path) if suffix.startswith(":") else len(path) - len(suffix)
            if len(path) - len(suffix) > len(prefix):
                return endpoint, path[len(prefix) : end]
    return None


def allowed_methods(path: str) -> list[str]:
    """The methods that a path answers to; empty for an unknown path."""
    return [method for method in METHODS if match(method, path) is not None]
