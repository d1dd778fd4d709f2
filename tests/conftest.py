"""Fixtures: a throw-away folder, a database with its triggers, an upstream double, and the relay as a real server."""

from __future__ import annotations

import asyncio
import importlib
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before Django reads its settings: no test touches the developer's own var/.
_VAR = tempfile.mkdtemp(prefix="costrouter-test-")
os.environ["VAR_DIR"] = _VAR
os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
os.environ.setdefault("KEY_HASH_SECRET", secrets.token_urlsafe(48))
os.environ.setdefault("FIELD_ENCRYPTION_KEYS", "wQ9xQ0m2v2mVJb3bW0m8c6l8yqz0k4n0Jx1z0m3v2mU=")
os.environ.setdefault("DRAIN_SECONDS", "2")

import httpx
import pytest
import uvicorn
from django.db import connection
from django.test import TransactionTestCase

from tests.doubles import Upstream
from tests.world import World

DEADLINE = 10.0


def eventually(condition: Callable[[], Any], *, within: float = DEADLINE, what: str = "") -> Any:
    """Wait for a condition of another thread or process; its first true value. Fails loudly when time is up."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen within {within} s: {what or condition}")
        time.sleep(0.01)


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """SQLite as a file, as in production: threads of one process share nothing else."""
    from django.conf import settings

    if connection.vendor == "sqlite":
        settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = str(Path(_VAR) / "test.sqlite3")


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> None:
    """Hashing a password properly takes most of a second; here it only has to be one."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _triggers_allow_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactional tests end in a flush, which the append-only triggers would refuse on SQLite: it deletes rows."""
    flush = TransactionTestCase._fixture_teardown

    def flush_without_triggers(self: TransactionTestCase) -> None:
        if connection.vendor != "sqlite":
            return flush(self)
        create, drop = importlib.import_module("billing.migrations.0002_append_only").statements("sqlite")
        with connection.cursor() as cursor:
            for statement in drop:
                cursor.execute(statement)
        try:
            flush(self)
        finally:
            with connection.cursor() as cursor:
                for statement in create:
                    cursor.execute(statement)

    monkeypatch.setattr(TransactionTestCase, "_fixture_teardown", flush_without_triggers)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    double = Upstream().start()
    yield double
    double.stop()


@pytest.fixture
def world(transactional_db: None) -> World:
    """An organization with money, a key, models and prices. See `tests/world.py`."""
    return World()


class RelayServer:
    """The whole ASGI application under uvicorn, in a thread of this process."""

    def __init__(self) -> None:
        from costrouter.asgi import Application

        self.application = Application()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self.application, lifespan="on", log_config=None, proxy_headers=False, timeout_graceful_shutdown=5
        )
        self.server = uvicorn.Server(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            await self.server.serve(sockets=[self._socket])

        asyncio.run(serve())

    def start(self) -> RelayServer:
        self._thread.start()
        eventually(lambda: self.server.started or not self._thread.is_alive())
        assert self.server.started
        return self

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def runtime(self) -> Any:
        return self.application.runtime

    def settled_down(self) -> None:
        """Wait until no request is open and the snapshot knows every change."""
        from accounts.changes import current_version

        eventually(lambda: not self.runtime.exchanges)
        eventually(lambda: self.runtime.snapshot.version == current_version())


@pytest.fixture
def relay(world: World) -> Iterator[RelayServer]:
    """The relay, serving. Make channels and keys before, or wait for `settled_down` after."""
    server = RelayServer().start()
    yield server
    server.stop()


@pytest.fixture
def client(relay: RelayServer, world: World) -> Iterator[httpx.Client]:
    """An HTTP client that sends Alice's key."""
    headers = {"authorization": f"Bearer {world.secret}"}
    with httpx.Client(base_url=relay.url, headers=headers, timeout=20) as http:
        yield http


