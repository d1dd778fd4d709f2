"""Google's Vertex AI: Gemini, and Anthropic's Claude.

The credentials are the JSON of a service account's key, which names the project; the base URL's host names the
location (`LOCATION-aiplatform.googleapis.com`, `aiplatform.LOCATION.rep.googleapis.com`; without one: `global`). The
token is a JWT that the account signs itself (google.aip.dev/auth/4111), so none is ever asked for over the network.

Sources: google-auth 2.62, google-genai 3.4 and anthropic 2.12 (`anthropic.lib.vertex`: paths, and the body's
`anthropic_version`).
"""

from __future__ import annotations

import json
import re
import threading
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec

from relay.protocols.fields import Fields
from relay.upstream.providers import anthropic, gemini
from relay.upstream.providers.base import Call, Fault, Headers, Provider, root, segment

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
# The version of requests that say nothing of one, or the first one: Vertex had its own name for that.
ANTHROPIC_VERSION = "vertex-2023-10-16"
_FIRST_VERSION = "2023-06-01"
_LOCATION = re.compile(r"(?:(?P<region>[a-z0-9-]+)-aiplatform|aiplatform\.(?P<area>[a-z]+)\.rep)\.googleapis\.com")
_MODEL = "/v1/projects/{project}/locations/{location}/publishers/{publisher}/models/{model}:{action}"
PATHS = dict.fromkeys(("gemini", "gemini_count", "anthropic", "anthropic_count"), _MODEL)


def location_of(base_url: str) -> str:
    """The location that a base URL names."""
    found = _LOCATION.fullmatch((urlsplit(base_url).hostname or "").lower())
    return (found["region"] or found["area"]) if found else "global"


def spoken(model: str) -> tuple[str, ...]:
    """What a model is asked in: Claude is Anthropic's, all else is Gemini."""
    return ("anthropic",) if model.startswith("claude") else ("gemini",)


def url(call: Call) -> str:
    """Where a request goes. Raises ValueError where the credentials name no project."""
    model, publisher = call.model, "google"
    if call.dialect == "anthropic_count":
        model, publisher, action = "count-tokens", "anthropic", "rawPredict"
    elif call.dialect == "anthropic":
        publisher, action = "anthropic", "streamRawPredict" if call.stream else "rawPredict"
    else:
        action = gemini.action_of(call)
    return root(call.base_url, "v1", "v1beta1") + _MODEL.format(
        project=segment(str(_read(call.credentials)["project_id"])),
        location=location_of(call.base_url),
        publisher=publisher,
        model=segment(model, "@"),
        action=action,
    )


def shape(call: Call, fields: Fields) -> Fields:
    """Claude's version goes into the body; its model goes into the path, save for counting."""
    if call.dialect not in ("anthropic", "anthropic_count"):
        return fields
    version = ANTHROPIC_VERSION if call.version in ("", _FIRST_VERSION) else call.version
    shaped = {"anthropic_version": msgspec.Raw(msgspec.json.encode(version)), **fields}
    if call.dialect == "anthropic":
        shaped.pop("model", None)
    return shaped


def _read(credentials: str) -> dict[str, Any]:
    try:
        found = json.loads(credentials)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found.get("project_id"):
        raise ValueError("the credentials are not the JSON of a service account's key")
    return found


class _Account:
    """A service account, and its token while it lasts."""

    def __init__(self, credentials: str) -> None:
        from google.oauth2.service_account import Credentials  # only where there is such a channel

        make: Any = Credentials.from_service_account_info
        account = _read(credentials)
        try:
            self._credentials: Any = make(account, scopes=[SCOPE]).with_always_use_jwt_access(True)
        except ValueError as error:
            raise ValueError(f"the service account's key cannot be used: {error}") from error
        self._lock = threading.Lock()

    def token(self) -> str:
        """A token that lasts for minutes at least; google-auth renews it some time before it expires."""
        with self._lock:
            if not self._credentials.valid:
                self._credentials.refresh(None)
            return str(self._credentials.token)


_account = lru_cache(maxsize=256)(_Account)


def sign(credentials: str, method: str, url: str, body: bytes) -> Headers:
    """`Authorization: Bearer` with the account's token. Raises ValueError."""
    return [(b"authorization", b"Bearer " + _account(credentials).token().encode())]


def fault(status: int, body: bytes) -> Fault:
    """Google's errors are Gemini's; Claude's may come in Anthropic's own envelope."""
    operator = Fault.OPERATOR in (gemini.fault(status, body), anthropic.fault(status, body))
    return Fault.OPERATOR if operator else Fault.CLIENT


PROVIDER = Provider(
    "vertex", PATHS, lambda credentials: [], "max_tokens", fault, url=url, sign=sign, shape=shape, spoken=spoken
)
