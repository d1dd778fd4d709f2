"""What of a channel's credentials must never be shown, in whole or in part."""

from __future__ import annotations

import json
import re
from functools import lru_cache


@lru_cache(maxsize=1_024)
def parts_of(credentials: str) -> tuple[str, ...]:
    """What credentials of several parts consist of: `ACCESS:SECRET:TOKEN`, or the JSON of a service account."""
    if not credentials.startswith("{"):
        return tuple(part for part in re.split(r"[:@]", credentials) if len(part) > 15)
    try:
        found = json.loads(credentials)
    except ValueError:
        return ()
    return tuple(found[name] for name in ("private_key", "private_key_id") if isinstance(found.get(name), str))


def echoes(credentials: str, body: bytes) -> bool:
    """Whether a body has credentials in it, whole or in part."""
    return any(secret and secret.encode() in body for secret in (credentials, *parts_of(credentials)))
