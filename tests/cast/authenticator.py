"""An authenticator app: RFC 6238, with the SHA-1 and the 30 seconds that every app has."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import time


def code(secret: str, *, later: int = 0) -> str:
    """What the app shows, now or so many half minutes later."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // 30 + later), hashlib.sha1)
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 10**6:06d}"
