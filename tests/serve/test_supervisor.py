"""The supervisor, with trivial children: it restarts what dies, stops in order, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from costrouter.serve.supervisor import BACK_OFF_SECONDS, STEADY_SECONDS, Child, Plan, Program, is_ready
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 30.0

# Writes a line with its pid when it starts, and one with the signal that ends it.
NOTE = """
import os, signal, sys, time
path, name = sys.argv[1:3]
def note(what):
    with open(path, "a") as file:
        file.write(f"{name} {what} {os.getpid()}\\n")
def stop(number, frame):
    note("stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, lambda *_: note("interrupted"))
note("started")
while True:
    time.sleep(60)
"""
STUBBORN = NOTE.replace('    note("stopped")\n    sys.exit(0)\n', '    note("refused")\n')
# A child with a child of its own, as gunicorn has workers.
PARENT = NOTE.replace('note("started")', 'child = os.fork()\nname = name if child else "grandchild"\nnote("started")')
READY = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


class Running:
    """A supervisor in a process of its own, and the lines its children wrote."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes
        self.process: subprocess.Popen[str] | None = None

    def program(self, name: str, code: str = NOTE, **options: Any) -> Program:
        return Program(name, python(code, str(self.notes), name), **options)

    def start(self, plan: Plan) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "costrouter.serve.supervisor"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdin
        self.process.stdin.write(plan.to_json())
        self.process.stdin.close()
        return self.process

    def lines(self) -> list[tuple[str, str, int]]:
        """(name, what, pid), in the order written."""
        if not self.notes.exists():
            return []
        parts = [line.split() for line in self.notes.read_text().splitlines()]
        return [(name, what, int(pid)) for name, what, pid in parts]

    def pids(self, name: str, what: str = "started") -> list[int]:
        return [pid for who, did, pid in self.lines() if (who, did) == (name, what)]

    def finish(self) -> tuple[int, str]:
        """Wait for the supervisor to end: its exit code and what it said."""
        assert self.process
        assert self.process.stderr
        said = self.process.stderr.read()
        return self.process.wait(DEADLINE), said


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    found = Running(tmp_path / "notes")
    yield found
    if found.process and found.process.poll() is None:
        found.process.kill()
        found.process.wait()
    for _, _, pid in found.lines():
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], Any]) -> Any:
    """Wait for something to be true."""
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_plan_survives_json() -> None:
    plan = Plan([Program("web", ("a", "b"), {"K": "v"}, (7,), 3.0)], ["web"], "web", ("127.0.0.1", 80), "hello")
    found = Plan.from_json(plan.to_json())
    assert found.ready_address == ("127.0.0.1", 80)
    assert json.loads(found.to_json()) == json.loads(plan.to_json())


def test_restarts_a_killed_child_and_only_that(running: Running) -> None:
    running.start(Plan([running.program("one"), running.program("two")], ["one", "two"]))
    first = until(lambda: running.pids("one") and running.pids("two") and running.pids("one")[0])
    os.kill(first, signal.SIGKILL)
    until(lambda: len(running.pids("one")) == 2)
    assert running.pids("one")[1] != first
    assert len(running.pids("two")) == 1
    assert running.process
    running.process.terminate()
    code, said = running.finish()
    assert code == 0
    assert "one ended (signal 9); starting it again" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_in_order_and_leaves_nothing(running: Running, number: signal.Signals) -> None:
    running.start(Plan([running.program("worker"), running.program("web")], ["web", "worker"]))
    until(lambda: running.pids("web") and running.pids("worker"))
    assert running.process
    running.process.send_signal(number)
    code, _ = running.finish()
    assert code == 0
    # SIGTERM to each, whatever the supervisor was sent; nothing reached them before their turn.
    assert [(name, what) for name, what, _ in running.lines() if what != "started"] == [
        ("web", "stopped"),
        ("worker", "stopped"),
    ]
    assert not any(is_alive(pid) for _, _, pid in running.lines())


def test_kills_what_does_not_stop(running: Running) -> None:
    running.start(Plan([running.program("web", STUBBORN, stop_seconds=0.2)], ["web"]))
    until(lambda: running.pids("web"))
    assert running.process
    running.process.terminate()
    code, said = running.finish()
    assert code == 0
    assert "killing web" in said
    assert not is_alive(running.pids("web")[0])


def test_second_signal_ends_the_patience(running: Running) -> None:
    running.start(Plan([running.program("web", STUBBORN, stop_seconds=3600.0)], ["web"]))
    until(lambda: running.pids("web"))
    assert running.process
    running.process.send_signal(signal.SIGINT)
    until(lambda: running.pids("web", "refused"))
    running.process.send_signal(signal.SIGINT)
    code, said = running.finish()
    assert code == 0
    assert "killing web" in said
    assert not is_alive(running.pids("web")[0])


def test_stops_the_children_of_a_child_too(running: Running) -> None:
    running.start(Plan([running.program("web", PARENT)], ["web"]))
    grandchild = until(lambda: running.pids("web") and running.pids("grandchild"))[0]
    assert running.process
    running.process.terminate()
    assert running.finish()[0] == 0
    until(lambda: not is_alive(grandchild))


def test_killed_supervisor_takes_its_children_along(running: Running) -> None:
    running.start(Plan([running.program("one"), running.program("two")], ["one", "two"]))
    until(lambda: running.pids("one") and running.pids("two"))
    assert running.process
    running.process.kill()
    running.process.wait()
    until(lambda: not any(is_alive(pid) for _, _, pid in running.lines()))
    assert {(name, what) for name, what, _ in running.lines() if what == "stopped"} == {
        ("one", "stopped"),
        ("two", "stopped"),
    }


def test_greets_once_ready_and_starts_again_without_a_word(running: Running) -> None:
    port = free_port()
    web = Program("web", python(READY, str(port)))
    process = running.start(Plan([web], ["web"], "web", ("127.0.0.1", port), "hello there"))
    assert process.stdout
    assert process.stdout.readline() == "hello there\n"
    assert is_ready("127.0.0.1", port)
    process.terminate()
    assert running.finish()[0] == 0
    assert process.stdout.read() == ""


def test_gives_up_on_a_server_that_never_starts(running: Running) -> None:
    broken = Program("web", python("import sys; sys.exit('bad configuration')"))
    running.start(Plan([running.program("worker"), broken], ["web", "worker"], "web", ("127.0.0.1", free_port())))
    code, said = running.finish()
    assert code == 1
    assert said.count("bad configuration") == 5
    assert said.rstrip().splitlines()[-2:] == [
        "up: web cannot start; its own words are above",
        "up: stopping worker",
    ]
    assert not any(is_alive(pid) for _, _, pid in running.lines())


def test_descriptor_is_handed_down(running: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code = (
            "import socket, sys, time\n"
            "listener = socket.socket(fileno=int(sys.argv[1]))\n"
            "while True: listener.accept()[0].sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n')\n"
        )
        child = Child(Program("sandbox", python(code, str(listener.fileno())), descriptors=(listener.fileno(),)))
        child.start()
        assert child.process
        try:
            assert is_ready("127.0.0.1", port)
        finally:
            child.process.kill()
            child.process.wait()


def test_counts_quick_deaths_in_a_row() -> None:
    child = Child(Program("web", python("pass")))
    for deaths in range(1, len(BACK_OFF_SECONDS) + 2):
        child.start()
        assert child.process
        child.process.wait()
        assert child.bury() == 0
        assert child.deaths == deaths
    child.start()
    child.started_at -= STEADY_SECONDS
    child.bury()
    assert child.deaths == 1


@pytest.mark.parametrize("reply", [b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"nonsense", b""])
def test_not_ready_unless_it_says_200(reply: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection = listener.accept()[0]
            connection.recv(1024)
            connection.sendall(reply)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        assert not is_ready("127.0.0.1", listener.getsockname()[1])
        thread.join()
    assert not is_ready("127.0.0.1", free_port())
