"""Fixtures: a throw-away folder, a database with its triggers, an upstream double, and the relay as a real server."""

from __future__ import annotations

import asyncio
import atexit
import functools
import importlib
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before Django reads its settings: no test touches the developer's own var/.
_VAR = tempfile.mkdtemp(prefix="costrouter-test-")
atexit.register(shutil.rmtree, _VAR, ignore_errors=True)
os.environ["VAR_DIR"] = _VAR
os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
os.environ.setdefault("KEY_HASH_SECRET", secrets.token_urlsafe(48))
os.environ.setdefault("FIELD_ENCRYPTION_KEYS", "wQ9xQ0m2v2mVJb3bW0m8c6l8yqz0k4n0Jx1z0m3v2mU=")
os.environ.setdefault("DRAIN_SECONDS", "2")

import httpx
import pytest
import uvicorn
import uvloop
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, run_checks
from django.core.management.color import no_style
from django.db import connection, transaction
from django.test import Client, TransactionTestCase
from hypothesis import settings as hypothesis_settings

from tests.browser.fixtures import chromium, tab  # noqa: F401  (fixtures)
from tests.cast.examples import examples
from tests.cast.waiting import eventually
from tests.cast.world import World
from tests.doubles.upstream import Upstream

# A database of Redis for each process: `cache.clear()` empties all of one.
if django_settings.REDIS_URL:
    _number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    django_settings.REDIS_URL = f"{django_settings.REDIS_URL.rpartition('/')[0]}/{_number}"
    django_settings.CACHES["default"]["LOCATION"] = django_settings.REDIS_URL

# A busy machine is no failure.
hypothesis_settings.register_profile("costrouter", deadline=None, max_examples=examples(40))
hypothesis_settings.load_profile("costrouter")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--servers", action="store_true", help="Only tests that a database or a Redis may make differ.")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `--servers`, a file that no database changes is not even read."""
    if not config.getoption("--servers") or collection_path.suffix != ".py":
        return None
    return True if "\npytestmark = pytest.mark.any_database" in collection_path.read_text() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--servers`, tests of pure functions and of how pages look are left out: no database changes them."""
    if not config.getoption("--servers"):
        return
    marks, fixtures = ("django_db", "e2e"), {"db", "transactional_db", "redis_url", "servers"}
    kept = [
        item
        for item in items
        if item.get_closest_marker("any_database") is None
        if fixtures & set(getattr(item, "fixturenames", ())) or any(item.get_closest_marker(mark) for mark in marks)
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """SQLite as a file, as in production: threads of one process share nothing else. A database for each worker."""
    from django.conf import settings

    database, worker = settings.DATABASES["default"], os.environ.get("PYTEST_XDIST_WORKER", "")
    if connection.vendor == "sqlite":
        # No test in this process cuts the power, so nothing waits for the disk.
        database["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"
        database.setdefault("TEST", {})["NAME"] = str(Path(_VAR) / "test.sqlite3")
    elif worker:
        database.setdefault("TEST", {})["NAME"] = f"test_{database['NAME']}_{worker}"


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> None:
    """Hashing a password properly takes most of a second; here it only has to be one."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


# What migrations fill once: flushing it would only have it made again, which takes most of a test's time.
_APPEND_ONLY = ("billing.migrations.0002_append_only", "accounts.migrations.0005_audit_append_only")
_KEPT_TABLES = {"django_migrations", "django_content_type", "auth_permission"}


def empty_database() -> None:
    """Delete every row that a test has made, although the append-only triggers refuse it."""
    tables = sorted(set(connection.introspection.django_table_names(only_existing=True)) - _KEPT_TABLES)
    if connection.vendor == "postgresql":
        # A replica fires no triggers, those of foreign keys included. TRUNCATE writes new files for each table.
        deletes = "; ".join(f'DELETE FROM "{table}"' for table in tables)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL session_replication_role = replica; {deletes}")
        return
    create: list[str] = []
    drop: list[str] = []
    for name in _APPEND_ONLY:
        made, dropped = importlib.import_module(name).statements("sqlite")
        create += made
        drop += dropped
    emptied = connection.ops.sql_flush(no_style(), tables, reset_sequences=False)
    connection.ops.execute_sql_flush([*drop, *emptied, *create])


@pytest.fixture(autouse=True)
def _quick_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactional tests end in a flush: this one is quick, and knows the append-only tables."""
    monkeypatch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: empty_database())


@pytest.fixture
def fresh_limits(settings: Any) -> None:
    """Nobody has tried to sign in yet: rate limits and sessions last seen are counted from here, in this process."""
    place = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    settings.CACHES = {name: {**place, "LOCATION": f"{name}-{secrets.token_hex(8)}"} for name in settings.CACHES}


@pytest.fixture
def visitor(fresh_limits: None) -> Client:
    """A browser without scripts, that nobody has signed in with."""
    return Client()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    double = Upstream().start()
    yield double
    double.stop()


@pytest.fixture
def world(transactional_db: None) -> World:
    """An organization with money, a key, models and prices. See `tests/cast/world.py`."""
    return World()


class _Impatient:
    """asyncio, but for a server that sleeps 100 ms before it looks whether its connections are closed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    @staticmethod
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.005))


uvicorn.server.asyncio = _Impatient()  # type: ignore[attr-defined]


class _Server(uvicorn.Server):
    """uvicorn's server, looking every 10 ms rather than 100 whether it should stop."""

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:  # noqa: ASYNC110  (a flag that signal handlers set)
            await asyncio.sleep(0.01)


@functools.cache
def _checked() -> list[CheckMessage]:
    """What Django's checks say of this code: once a process, though every server asks."""
    return run_checks()


class RelayServer:
    """The whole ASGI application under uvicorn, in a thread of this process."""

    def __init__(self) -> None:
        from costrouter import asgi

        asgi.run_checks = _checked
        self.application = asgi.Application()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self.application,
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        self.server = _Server(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            await self.server.serve(sockets=[self._socket])

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

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
def relay(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[RelayServer]:
    """The relay, serving. Make channels and keys before, or wait for `settled_down` after.

    It polls for changes twenty times as often as in production, to save time.
    """
    monkeypatch.setattr("relay.snapshot.POLL_SECONDS", 0.02)
    # What is frozen is never collected: each test would leave its threads' database connections behind. And to collect
    # everything takes longer than most tests.
    monkeypatch.setattr("relay.exchange.runtime.gc.freeze", lambda: None)
    monkeypatch.setattr("relay.exchange.runtime.gc.collect", lambda: 0)
    server = RelayServer().start()
    yield server
    server.stop()


@pytest.fixture
def client(relay: RelayServer, world: World) -> Iterator[httpx.Client]:
    """An HTTP client that sends Alice's key."""
    headers = {"authorization": f"Bearer {world.secret}"}
    with httpx.Client(base_url=relay.url, headers=headers, timeout=20) as http:
        yield http
