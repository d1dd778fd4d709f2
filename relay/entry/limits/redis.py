"""Counts that processes share, in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from relay.entry.limits.stores import CONCURRENT, CONCURRENT_WAIT_MS, TOKENS, WINDOW_MS, Check, State
from relay.tasks import spawn

# A slot that its process no longer renews is free after SLOT_MS: the process was killed.
SLOT_MS = 30_000
RENEW_SECONDS = 10.0
_PATIENCE_SECONDS = 2.0

# KEYS: for each check its sorted set (score: milliseconds) and the sum of its tokens.
# ARGV: now in milliseconds or '' for the server's clock, request, tokens, then kind and limit of each check.
# Entries of tokens are named "request:tokens". Answers {used, reset, wait} of each check; wait -2: it had room.
_ADMIT = f"""
local window, slot = {WINDOW_MS}, {SLOT_MS}
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local request, tokens = ARGV[2], tonumber(ARGV[3])
local count = #KEYS / 2
local answer, admitted = {{}}, true
for i = 1, count do
  local log, sum = KEYS[2 * i - 1], KEYS[2 * i]
  local kind, limit = ARGV[2 * i + 2], tonumber(ARGV[2 * i + 3])
  local used, need, wait, reset = 0, 1, -2, 0
  if kind == 'concurrent' then
    redis.call('ZREMRANGEBYSCORE', log, '-inf', now)
    used = redis.call('ZCARD', log)
    if used + need > limit then wait = {CONCURRENT_WAIT_MS} end
  else
    if kind == 'tokens' then
      need = tokens
      used = tonumber(redis.call('GET', sum) or 0)
      local gone = redis.call('ZRANGEBYSCORE', log, '-inf', now - window)
      for _, entry in ipairs(gone) do used = used - tonumber(string.match(entry, '%d+$')) end
      if #gone > 0 then
        redis.call('ZREMRANGEBYSCORE', log, '-inf', now - window)
        redis.call('SET', sum, used, 'KEEPTTL')
      end
      if redis.call('EXISTS', log) == 0 then
        used = 0
        redis.call('DEL', sum)
      end
    else
      redis.call('ZREMRANGEBYSCORE', log, '-inf', now - window)
      used = redis.call('ZCARD', log)
    end
    local last = redis.call('ZRANGE', log, -1, -1, 'WITHSCORES')[2]
    if last then reset = last + window - now end
    if need > limit then
      wait = -1
    elseif used + need > limit then
      if kind == 'tokens' then
        local left, at = used, 0
        repeat
          local entries = redis.call('ZRANGE', log, at, at + 99, 'WITHSCORES')
          for j = 1, #entries, 2 do
            left = left - tonumber(string.match(entries[j], '%d+$'))
            wait = entries[j + 1] + window - now
            if left + need <= limit then break end
          end
          at = at + 100
        until left + need <= limit or #entries < 200
      else
        wait = redis.call('ZRANGE', log, used - limit, used - limit, 'WITHSCORES')[2] + window - now
      end
    end
  end
  if wait ~= -2 then admitted = false end
  answer[i] = {{used, reset, wait}}
end
if not admitted then return answer end
for i = 1, count do
  local log, sum = KEYS[2 * i - 1], KEYS[2 * i]
  local kind = ARGV[2 * i + 2]
  if kind == 'concurrent' then
    redis.call('ZADD', log, now + slot, request)
    redis.call('PEXPIRE', log, slot)
    answer[i] = {{answer[i][1] + 1, 0, -2}}
  elseif kind == 'tokens' then
    redis.call('ZADD', log, now, request .. ':' .. tokens)
    redis.call('INCRBY', sum, tokens)
    redis.call('PEXPIRE', log, 2 * window)
    redis.call('PEXPIRE', sum, 2 * window)
    answer[i] = {{answer[i][1] + tokens, window, -2}}
  else
    redis.call('ZADD', log, now, request)
    redis.call('PEXPIRE', log, 2 * window)
    answer[i] = {{answer[i][1] + 1, window, -2}}
  end
end
return answer
"""


# KEYS as above. ARGV: now or '', request, reserved, used (or reserved again), then the kind of each check.
_RELEASE = f"""
local window = {WINDOW_MS}
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local request, reserved, used = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
for i = 1, #KEYS / 2 do
  local log, sum, kind = KEYS[2 * i - 1], KEYS[2 * i], ARGV[4 + i]
  if kind == 'concurrent' then
    redis.call('ZREM', log, request)
  elseif used > reserved then
    redis.call('ZADD', log, now, request .. '/more:' .. (used - reserved))
    redis.call('INCRBY', sum, used - reserved)
    redis.call('PEXPIRE', log, 2 * window)
    redis.call('PEXPIRE', sum, 2 * window)
  elseif used < reserved then
    local at = redis.call('ZSCORE', log, request .. ':' .. reserved)
    if at then
      redis.call('ZREM', log, request .. ':' .. reserved)
      redis.call('ZADD', log, at, request .. ':' .. used)
      redis.call('DECRBY', sum, reserved - used)
      redis.call('PEXPIRE', sum, 2 * window)
    end
  end
end
"""


class RedisStore:
    """Counts in Redis, each admission and each release as one script: exact however many processes there are.

    Slots of requests under way expire after 30 s and are renewed every 10 s by the process that serves them, so those
    of a killed process come free by themselves. Times are the server's, unless a test brings a clock.
    Raises redis.RedisError and OSError where Redis is away.
    """

    def __init__(self, url: str, clock: Callable[[], float] | None = None) -> None:
        from redis import asyncio as redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # A script is never sent twice: it would count twice.
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=64,
            timeout=_PATIENCE_SECONDS,
            socket_timeout=_PATIENCE_SECONDS,
            socket_connect_timeout=_PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._client: Any = redis.Redis.from_pool(pool)
        self._admit = self._client.register_script(_ADMIT)
        self._release = self._client.register_script(_RELEASE)
        self._clock = clock
        self._open: dict[str, list[str]] = {}
        self._renewing: asyncio.Task[None] | None = None

    def _now(self) -> int | str:
        return "" if self._clock is None else int(self._clock() * 1000)

    async def admit(self, request: str, checks: Sequence[Check], tokens: int) -> list[State]:
        """As `Store` says."""
        arguments: list[int | str] = [self._now(), request, tokens]
        for check in checks:
            arguments += [check.kind, check.limit]
        try:
            rows = await self._admit(_keys(checks), arguments)
        except asyncio.CancelledError:
            # It may have been counted all the same; its slot must not wait until it expires.
            self.release(request, checks, tokens, 0)
            raise
        states = [State(used, reset, None if wait == -2 else wait) for used, reset, wait in rows]
        slots = [_key(check) for check in checks if check.kind == CONCURRENT]
        if slots and all(state.wait_ms is None for state in states):
            self._open[request] = slots
            if self._renewing is None or self._renewing.done():
                self._renewing = spawn(self._keep(), name="renew slots")
        return states

    def release(self, request: str, checks: Sequence[Check], reserved: int, used: int | None) -> None:
        """As `Store` says, soon. Where Redis is away, slots expire and reserved tokens leave the window."""
        self._open.pop(request, None)
        due = [c for c in checks if c.kind == CONCURRENT or (c.kind == TOKENS and used not in (None, reserved))]
        if due:
            arguments = [self._now(), request, reserved, reserved if used is None else used, *(c.kind for c in due)]
            spawn(self._released(_keys(due), arguments), name=f"release {request}")

    async def _released(self, keys: list[str], arguments: list[int | str]) -> None:
        from redis.exceptions import RedisError

        try:
            await self._release(keys, arguments)
        except (RedisError, OSError):
            pass

    async def _keep(self) -> None:
        from redis.exceptions import RedisError

        await asyncio.sleep(RENEW_SECONDS)
        while self._open:
            try:
                await self.renew()
            except (RedisError, OSError):
                pass
            await asyncio.sleep(RENEW_SECONDS)

    async def renew(self) -> None:
        """Keep the slots of requests that are under way here. One that was lost meanwhile is not taken again."""
        if self._clock is None:
            seconds, micros = await self._client.time()
            now = seconds * 1000 + micros // 1000
        else:
            now = int(self._clock() * 1000)
        pipeline = self._client.pipeline(transaction=False)
        for request, keys in self._open.items():
            for key in keys:
                pipeline.zadd(key, {request: now + SLOT_MS}, xx=True)
                pipeline.pexpire(key, SLOT_MS)
        await pipeline.execute()

    async def close(self) -> None:
        """Close every connection."""
        if self._renewing is not None:
            self._renewing.cancel()
        await self._client.aclose()
        await self._client.connection_pool.disconnect()


def _key(check: Check) -> str:
    """Keys of one organization share a slot of a Redis cluster: one script touches them together."""
    return f"costrouter:limit:{{{check.organization_id}}}:{check.owner}:{check.kind}"


def _keys(checks: Sequence[Check]) -> list[str]:
    return [key for check in checks for key in (_key(check), f"{_key(check)}:sum")]
