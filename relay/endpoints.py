"""THE table of the relay's endpoints. The router and the tests read it, and so will the docs page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and a path, whose last part may be a `{parameter}` that takes the rest of the path.

    `protocol`: the client dialect. `meter`: what is charged; None for what is free and leaves no record.
    `handler`: a function of `relay.pipeline`.
    """

    name: str
    method: str
    path: str
    category: str
    protocol: str
    meter: str | None
    handler: str


ENDPOINTS = (
    Endpoint("chat.completions", "POST", "/v1/chat/completions", "Chat", "openai_chat", "tokens", "chat"),
    Endpoint("models.list", "GET", "/v1/models", "Models", "openai_chat", None, "list_models"),
    Endpoint("models.get", "GET", "/v1/models/{model}", "Models", "openai_chat", None, "get_model"),
)

_EXACT = {(e.method, e.path): e for e in ENDPOINTS if "{" not in e.path}
_PREFIXED = [(e.path.partition("{")[0], e) for e in ENDPOINTS if "{" in e.path]
_METHODS: dict[str, list[str]] = {}
for _endpoint in ENDPOINTS:
    _METHODS.setdefault(_endpoint.path, []).append(_endpoint.method)


def match(method: str, path: str) -> tuple[Endpoint, str] | None:
    """The endpoint for a request and its path parameter (a model's name may contain slashes), or None.

    The path is decoded already, as ASGI has it.
    """
    found = _EXACT.get((method, path))
    if found is not None:
        return found, ""
    for prefix, endpoint in _PREFIXED:
        if endpoint.method == method and path.startswith(prefix) and len(path) > len(prefix):
            return endpoint, path[len(prefix) :]
    return None


def allowed_methods(path: str) -> list[str]:
    """The methods that a path answers to; empty for an unknown path."""
    methods = list(_METHODS.get(path, ()))
    methods += [e.method for prefix, e in _PREFIXED if path.startswith(prefix) and len(path) > len(prefix)]
    return methods
