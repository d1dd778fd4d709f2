"""The cache that counts how often pages are tried: in Redis for all processes, and without it in each for itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

log = logging.getLogger(__name__)
# How long a Redis that did not answer is left alone, so that not each page waits for it.
REST_SECONDS = 5.0
_resting_until = 0.0


class SteadyRedisCache(RedisCache):
    """Redis; while it does not answer, this process's memory. Limits then hold for each process."""

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._spare = LocMemCache("spare", {"OPTIONS": {"MAX_ENTRIES": 50_000}})

    def _either(self, theirs: Callable[..., Any], mine: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        global _resting_until
        if time.monotonic() >= _resting_until:
            try:
                return theirs(*args, **kwargs)
            except RedisError as error:
                _resting_until = time.monotonic() + REST_SECONDS
                log.warning("Redis does not answer, pages count for themselves: %s", error)
        return mine(*args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().add, self._spare.add, *args, **kwargs)

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().get, self._spare.get, *args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().set, self._spare.set, *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().delete, self._spare.delete, *args, **kwargs)

    def incr(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().incr, self._spare.incr, *args, **kwargs)
