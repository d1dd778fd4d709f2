"""Throw-away PostgreSQL and Redis, real servers on free loopback ports, gone when the block ends; where Chromium is.

`python -m tests.servers -- pytest …` runs a command with DATABASE_URL and REDIS_URL set; `--install` fetches missing
servers from Debian's packages where that is possible.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from costrouter.serve.supervisor import die_with_parent

DEADLINE = 60.0
PACKAGES = {"postgres": "postgresql", "redis-server": "redis-server", "chromium": "chromium"}


class ServerMissing(Exception):
    """A server's program is not on this machine."""


def program(name: str) -> str:
    """The path of a program. Debian keeps PostgreSQL's out of PATH. Raises ServerMissing."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    found = next((str(folder / name) for folder in folders if (folder / name).exists()), None) or shutil.which(name)
    if found is None:
        raise ServerMissing(f"{name} is not installed (Debian package {PACKAGES.get(name, 'postgresql')})")
    return found


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _as_postgres(folder: Path) -> dict[str, object]:
    """PostgreSQL refuses to run as root: then its own user owns the folder and runs the commands."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def postgres(*, durable: bool = True) -> Iterator[str]:
    """A new PostgreSQL cluster. Yields its DATABASE_URL. Not `durable`: it does not wait for its disk."""
    initdb, server = program("initdb"), program("postgres")
    with tempfile.TemporaryDirectory(prefix="costrouter-pg-") as name:
        folder = Path(name)
        user = _as_postgres(folder)
        folder.chmod(0o755)
        data, port = folder / "data", free_port()
        command = [initdb, "-D", str(data), "-U", "costrouter", "--auth=trust", "--encoding=UTF8", "--no-locale", "-N"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)  # type: ignore[call-overload]
        options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "max_connections=200"]
        if not durable:
            options += ["-c", "fsync=off", "-c", "full_page_writes=off"]
        with _running([server, "-D", str(data), *options], folder=folder, stop=signal.SIGINT, **user):
            url = f"postgres://costrouter@127.0.0.1:{port}/postgres"
            _wait(lambda: _accepts(url), "PostgreSQL")
            yield url


def _accepts(url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A new Redis that keeps nothing. Yields its REDIS_URL."""
    server = program("redis-server")
    with tempfile.TemporaryDirectory(prefix="costrouter-redis-") as name:
        port = free_port()
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", name, "--daemonize", "no"]
        with _running(command, folder=Path(name), stop=signal.SIGTERM):
            _wait(lambda: _pongs(port), "Redis")
            yield f"redis://127.0.0.1:{port}/0"


def _pongs(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


@contextlib.contextmanager
def _running(command: Sequence[str], *, folder: Path, stop: signal.Signals, **user: object) -> Iterator[None]:
    """A server process in a session of its own, stopped when the block ends, killed if it does not stop.

    If this process is killed itself, the kernel stops the server.
    """
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # type: ignore[call-overload]
            command,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid(), stop),
            **user,
        )
    try:
        yield
    except TimeoutError:
        print(log.read_text(errors="replace"), file=sys.stderr)
        raise
    finally:
        process.send_signal(stop)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not start within {DEADLINE:.0f} s")
        time.sleep(0.05)


def install() -> None:
    """Install the servers that are missing, where apt and root are at hand. On CI a missing one is an error."""
    missing = []
    for name, package in PACKAGES.items():
        try:
            program(name)
        except ServerMissing:
            missing.append(package)
    if not missing:
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        quiet = {"env": environment, "check": True, "stdout": subprocess.DEVNULL}
        print(f"Installing {', '.join(missing)} …", file=sys.stderr)
        subprocess.run(["apt-get", "update", "-qq"], **quiet)  # type: ignore[call-overload]
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], **quiet)  # type: ignore[call-overload]
    elif os.environ.get("CI"):
        raise SystemExit(f"Missing on this machine: {', '.join(missing)}.")


@contextlib.contextmanager
def both(*, durable: bool = True) -> Iterator[dict[str, str]]:
    """PostgreSQL and Redis at once: what they add to the environment."""
    with postgres(durable=durable) as database_url, redis() as redis_url:
        yield {"DATABASE_URL": database_url, "REDIS_URL": redis_url}


def main() -> int:
    """Run a command beside the servers; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="Install missing servers, and run nothing.")
    parser.add_argument("--quick", action="store_true", help="A PostgreSQL that does not wait for its disk.")
    parser.add_argument("command", nargs="*", help="What to run, after `--`.")
    options = parser.parse_args()
    if options.install:
        install()
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with both(durable=not options.quick) as environment:
        die = partial(die_with_parent, os.getpid(), signal.SIGTERM)
        command = subprocess.run(options.command, env={**os.environ, **environment}, check=False, preexec_fn=die)
        return command.returncode


if __name__ == "__main__":
    sys.exit(main())
