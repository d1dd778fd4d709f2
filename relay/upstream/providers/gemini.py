"""Google's Gemini API (generativelanguage.googleapis.com).

The base URL is the root, as its SDK has it. The model and the action are in the path; a stream is always asked for as
server-sent events.

Sources: google-genai 3.4, and "API errors" of Google's Gemini API documentation.
"""

from __future__ import annotations

from relay.upstream.providers.base import Call, Headers, Provider, root, segment
from relay.upstream.providers.faults import faults

_MODEL = "/v1beta/{model}:{action}"
PATHS = {"gemini": _MODEL, "gemini_count": _MODEL, "gemini_embed": _MODEL}
# What is asked where the client's path does not say it, since its dialect is another.
_ACTIONS = {"gemini_count": "countTokens", "gemini_embed": "batchEmbedContents"}
STREAM, WHOLE = "streamGenerateContent", "generateContent"


def action_of(call: Call) -> str:
    """What is asked of the model, with the query that goes with it."""
    if call.dialect == "gemini":
        return f"{STREAM}?alt=sse" if call.stream or call.action == STREAM else WHOLE
    return call.action or _ACTIONS[call.dialect]


def url(call: Call) -> str:
    """Where a request goes; a base URL may end in a version. A model with a slash is a resource's whole name."""
    name = call.model if "/" in call.model else f"models/{call.model}"
    path = _MODEL.format(model=segment(name, "/"), action=action_of(call))
    return root(call.base_url, "v1", "v1beta") + path


def headers(credentials: str) -> Headers:
    """`x-goog-api-key`."""
    return [(b"x-goog-api-key", credentials.encode())] if credentials else []


# Google says INVALID_ARGUMENT of a bad key too, and FAILED_PRECONDITION of a region or a project without billing.
fault = faults(
    kinds=frozenset(
        {
            *("API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_EXPIRED"),
            *("API_KEY_IP_ADDRESS_BLOCKED", "SERVICE_DISABLED", "BILLING_DISABLED", "CONSUMER_INVALID"),
            *("FAILED_PRECONDITION", "UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"),
        }
    ),
    messages=r"api key (not valid|expired|not found)|user location is not supported",
)
PROVIDER = Provider("gemini", PATHS, headers, "max_tokens", fault, tiers=frozenset({"flex", "priority"}), url=url)
