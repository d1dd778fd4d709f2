"""The product as a user installs it: a folder, a database and a port of its own, and the real processes of `up`."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0
_numbers = itertools.count(1)


def until(condition: Callable[[], Any], *, every: float = 0.05) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every)
    return found


def servers() -> dict[str, str]:
    """A database of our own on the PostgreSQL that the tests run on, and a corner of their Redis; else nothing."""
    url, redis = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
    if not url.startswith("postgres"):
        return {}
    name = f"up_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return {"DATABASE_URL": f"{url.rpartition('/')[0]}/{name}", "REDIS_URL": f"{redis.rpartition('/')[0]}/7"}


class Installation:
    """A folder and a database of its own, with everything `make setup` makes; and `up` on a free port.

    SQLite and files, or the PostgreSQL and the Redis that the tests run on.
    """

    def __init__(self, var_dir: Path) -> None:
        self.var_dir = var_dir
        self.port = free_port()
        self.environment = {"PATH": os.environ["PATH"], "VAR_DIR": str(var_dir), "DRAIN_SECONDS": "5", **servers()}
        self.process: subprocess.Popen[str] | None = None
        self.said = var_dir.parent / "said"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=self.var_dir.parent,
            env=self.environment,
            capture_output=True,
            text=True,
            check=check,
        )

    def ask(self, expression: str) -> Any:
        """What an expression over the models is worth, asked by the product's own shell."""
        code = (
            "import json; from django.db.models import *; from billing.models import *; "
            f"print(json.dumps({expression}))"
        )
        return json.loads(self.manage("shell", "-v", "0", "-c", code).stdout)

    def up(self, *options: str) -> subprocess.Popen[str]:
        """Start it, and wait until it is ready. An earlier `up` may still be stopping: what it says is its own."""
        self.said.unlink(missing_ok=True)
        with self.said.open("w") as said:
            process = self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "up", "--port", str(self.port), *options],
                cwd=self.var_dir.parent,
                env=self.environment,
                stdout=said,
                stderr=said,
                text=True,
                start_new_session=True,
            )
        until(lambda: "Ctrl-C stops it." in self.said.read_text() or process.poll() is not None)
        assert process.poll() is None, self.said.read_text()
        return process

    def processes(self, *words: str) -> list[int]:
        """The processes that were started with this folder in their environment and have these words on their line."""
        found = []
        mark = f"VAR_DIR={self.var_dir}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                line = (folder / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if mark in environment and any(line) and all(word in line for word in words):
                found.append(int(folder.name))
        return sorted(found)

    def web_workers(self) -> list[int]:
        """gunicorn's workers, the oldest first. Its master is the process that is none's child among them."""
        found = self.processes("gunicorn")
        born = {pid: _stat(pid) for pid in found}
        return sorted((pid for pid in found if born[pid][0] in found), key=lambda pid: born[pid][1])

    def reconcile(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.manage("reconcile", "--json", check=False).stdout)
        return found

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)


def _stat(pid: int) -> tuple[int, int]:
    """A process's parent and the moment of its birth; zeros where it has just gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(fields[1]), int(fields[19])
