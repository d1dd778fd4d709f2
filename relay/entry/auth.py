"""Who is calling: the API key of a request, looked up once and then kept in memory until it changes."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections

from accounts import selectors
from accounts.models import ConfigChange
from accounts.selectors import KeyInfo
from billing.selectors import budget_ids
from costrouter.lib import crypto, netguard
from relay.errors import RelayError
from relay.snapshot import utc_now

log = logging.getLogger(__name__)
Kind = ConfigChange.Kind
MAX_KEYS, MAX_UNKNOWN = 50_000, 10_000
UNKNOWN_SECONDS = 10.0
_KEY = re.compile(r"sk-[A-Za-z0-9]{48}")


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that may be used, with the budgets that its requests count against."""

    key: KeyInfo
    budgets: tuple[int, ...]


def key_of(headers: Mapping[bytes, bytes], query: str) -> str | None:
    """The API key a client sent: Bearer, else `x-api-key`, else `x-goog-api-key`, else `?key=`."""
    authorization = headers.get(b"authorization", b"")
    if authorization[:7].lower() == b"bearer ":
        return authorization[7:].strip().decode("latin-1") or None
    for name in (b"x-api-key", b"x-goog-api-key"):
        if value := headers.get(name):
            return value.strip().decode("latin-1")
    if "key=" in query:
        from urllib.parse import parse_qs

        values = parse_qs(query).get("key")
        return values[0] if values else None
    return None


def without_key(query: str) -> str:
    """A query string without `key=`: what may be read on and passed on."""
    return "&".join(part for part in query.split("&") if part and not part.startswith("key="))


class KeyCache:
    """Keys by the hash of the whole key. Bounded; what changes is dropped; unknown keys have a cache of their own."""

    def __init__(self) -> None:
        # Whether the configuration could not be polled for so long that a cached key must not be believed.
        self.is_stale: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Caller] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        # Raised by every drop: a look-up that began before it must not be kept.
        self._generation = 0

    def get(self, digest: str) -> Caller | bool | None:
        """The caller; None for a key that is known not to exist; False where the database must be asked."""
        if self.is_stale():
            return False
        caller = self._known.get(digest)
        if caller is not None:
            return caller
        until = self._unknown.get(digest)
        if until is not None and until > time.monotonic():
            return None
        return False

    def look_up(self, digest: str) -> Caller | None:
        """Ask the database, and remember. Blocks: call it in a thread."""
        generation = self._generation
        try:
            key = selectors.key_by_digest(digest)
            caller = None
            if key is not None:
                ids = budget_ids(organization_id=key.organization_id, user_id=key.user_id, api_key_id=key.id)
                caller = Caller(key, ids)
        finally:
            close_old_connections()
        with self._lock:
            if generation == self._generation:
                if caller is not None:
                    self._known[digest] = caller
                    self._unknown.pop(digest, None)
                    if len(self._known) > MAX_KEYS:
                        self._known.popitem(last=False)
                else:
                    self._unknown[digest] = time.monotonic() + UNKNOWN_SECONDS
                    if len(self._unknown) > MAX_UNKNOWN:
                        self._unknown.popitem(last=False)
        return caller

    def drop(self, changed: list[tuple[str, str]] | None) -> None:
        """Forget what changed: (kind, id) of keys, users and organizations; None: everything."""
        with self._lock:
            self._generation += 1
            self._unknown.clear()
            if changed is None:
                self._known.clear()
                return
            gone = {(kind, int(number)) for kind, number in changed}
            for digest, caller in list(self._known.items()):
                key = caller.key
                if (
                    (Kind.API_KEY, key.id) in gone
                    or (Kind.USER, key.user_id) in gone
                    or (Kind.ORGANIZATION, key.organization_id) in gone
                ):
                    del self._known[digest]


async def identify(key: str | None, cache: KeyCache) -> Caller:
    """The caller behind a key. Raises `invalid_api_key`, whether it is missing, malformed or unknown.

    Raises `unavailable` where the database must be asked and does not answer.
    """
    if key is None:
        raise RelayError(
            "invalid_api_key",
            "You didn't provide an API key. Send it in an Authorization header: Authorization: Bearer YOUR_KEY.",
        )
    if not _KEY.fullmatch(key):
        raise RelayError("invalid_api_key", "Incorrect API key provided.")
    digest = crypto.key_digest(settings.KEY_HASH_SECRET, key)
    found = cache.get(digest)
    if found is False:
        try:
            found = await asyncio.get_running_loop().run_in_executor(None, cache.look_up, digest)
        except (DatabaseError, InterfaceError) as error:
            log.warning("a key could not be looked up: %s", type(error).__name__)
            raise RelayError(
                "unavailable", "API keys cannot be checked now; try again.", headers={"retry-after": "1"}
            ) from error
    if not isinstance(found, Caller):
        raise RelayError("invalid_api_key", "Incorrect API key provided.")
    return found


def authorize(caller: Caller, client_ip: str) -> None:
    """Refuse a key that may not be used now or from here. Raises RelayError with status 403."""
    key = caller.key
    if not key.enabled:
        raise RelayError("key_disabled", "This API key is disabled.")
    if key.expires_at is not None and key.expires_at <= utc_now():
        raise RelayError("key_expired", "This API key has expired.")
    if not key.user_active:
        raise RelayError("user_suspended", "The user of this API key is suspended.")
    if not key.organization_active:
        raise RelayError("organization_suspended", "The organization of this API key is suspended.")
    if key.allowed_ips and not netguard.is_within(client_ip, key.allowed_ips):
        raise RelayError("ip_not_allowed", f"This API key may not be used from {client_ip}.")
