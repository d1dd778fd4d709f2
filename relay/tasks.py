"""Tasks of the event loop that outlive the call that starts them, and work that must not hold it up."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import close_old_connections

from relay.errors import RelayError

log = logging.getLogger(__name__)
T = TypeVar("T")
_running: set[asyncio.Task[Any]] = set()
# Working on more bytes than this takes longer than the event loop should be away.
THREAD_BYTES = 512 * 1024


# Threads for what takes long: all of them may be busy, and yet keys are looked up, in threads of their own.
_heavy = ThreadPoolExecutor(os.cpu_count() or 2, thread_name_prefix="heavy")


async def in_heavy_thread(work: Callable[[], T]) -> T:
    """What `work` gives, which takes long and does not wait for anything."""
    return await asyncio.get_running_loop().run_in_executor(_heavy, work)


async def in_thread(work: Callable[[], T]) -> T:
    """Work that blocks, on the database for instance, off the event loop."""

    def run() -> T:
        try:
            return work()
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(None, run)


async def off_loop(work: Callable[[], T], *, size: int) -> T:
    """What `work` gives, which takes the longer the more bytes it works on: in a thread where they are many."""
    return work() if size <= THREAD_BYTES else await in_heavy_thread(work)


def spawn(coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Start a task, keep a reference to it until it ends, and log an exception that is not an answer to a client."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


async def done_within(future: asyncio.Future[Any], seconds: float | None = None) -> bool:
    """Wait for a future that goes on whatever becomes of whoever waits; asyncio's own ways cost three times as much."""
    if future.done():
        return True
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(wake)
    timer = loop.call_later(seconds, wake) if seconds is not None else None
    try:
        await waiter
    finally:
        future.remove_done_callback(wake)
        if timer is not None:
            timer.cancel()
    return future.done()


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if task.cancelled():
        return
    error = task.exception()
    if error is not None and not isinstance(error, RelayError):
        log.error("task %s failed", task.get_name(), exc_info=error)
