"""Amazon Bedrock's Converse.

Credentials are `ACCESS_KEY:SECRET_KEY[:SESSION_TOKEN]`, and requests are signed (Signature Version 4), or else a
Bedrock API key, sent as a bearer token. The region is the base URL's (`bedrock-runtime.REGION.amazonaws.com`), unless
the credentials end in `@REGION`.

Source: botocore 1.44: `bedrock-runtime/2023-09-30` (paths, errors), `botocore.auth` (the signature).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from relay.upstream.providers.base import Call, Headers, Provider, bearer, join, segment
from relay.upstream.providers.faults import faults

PATHS = {"bedrock": "/model/{model}/converse"}
_IN_HOST = re.compile(r"(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.")
_AT_END = re.compile(r"@([a-z]{2}(?:-[a-z]+)+-\d+)$")
_DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials in their parts; `secret` None: an API key."""

    access: str
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    region: str | None = None


@lru_cache(maxsize=256)
def keys_of(credentials: str) -> Keys:
    """Credentials in their parts."""
    found = _AT_END.search(credentials)
    region = found[1] if found else None
    access, _, rest = (credentials[: found.start()] if found else credentials).partition(":")
    secret, _, token = rest.partition(":")
    return Keys(access, secret or None, token or None, region)


def region_of(url: str, keys: Keys) -> str:
    """The region that a request is signed for."""
    found = _IN_HOST.search((urlsplit(url).hostname or "").lower())
    return keys.region or (found[1] if found else _DEFAULT_REGION)


def url(call: Call) -> str:
    """Where a request goes. A model's id may have colons and, where it is an ARN, slashes: all are escaped."""
    return join(call.base_url, f"/model/{segment(call.model)}/converse{'-stream' if call.stream else ''}")


def sign(credentials: str, method: str, url: str, body: bytes) -> Headers:
    """The signature of a request over its method, URL and body, with its date; or a bearer token."""
    keys = keys_of(credentials)
    if keys.secret is None:
        return bearer(keys.access)
    from botocore.auth import SigV4Auth  # only where there is such a channel
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request: Any = AWSRequest(method=method, url=url, data=body)
    SigV4Auth(Credentials(keys.access, keys.secret, keys.token), "bedrock", region_of(url, keys)).add_auth(request)
    return [(name.lower().encode(), str(value).encode()) for name, value in request.headers.items()]


# A ValidationException is the client's, save those about the model's id or the account. 424: the model itself failed.
fault = faults(
    statuses=frozenset({424}),
    kinds=frozenset(
        {
            *("AccessDeniedException", "UnrecognizedClientException", "ThrottlingException", "ExpiredTokenException"),
            *("ResourceNotFoundException", "InvalidSignatureException", "ServiceQuotaExceededException"),
            *("IncompleteSignatureException", "MissingAuthenticationTokenException"),
        }
    ),
    messages=r"the provided model identifier is invalid|invocation of model id|operation not allowed|"
    r"access to this model is not available|model use case details have not been submitted|"
    r"this model version has reached the end of its life",
)
PROVIDER = Provider("bedrock", PATHS, bearer, "max_tokens", fault, url=url, sign=sign)
