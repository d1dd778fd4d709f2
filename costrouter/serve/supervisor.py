"""Runs the processes of `manage.py up` and restarts any that dies. Imports no Django, so it stays small.

`manage.py up` replaces itself by `python -m costrouter.serve.supervisor`, with a plan in JSON on standard input. One
thread; it sleeps until a signal or the next time something is due.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

PR_SET_PDEATHSIG = 1
# A child that lived this long starts anew at once; one that keeps dying waits longer each time.
STEADY_SECONDS = 10.0
BACK_OFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
# So many deaths by its own hand before it was ever ready mean that it cannot start.
HOPELESS = 5


def die_with_parent(parent: int, number: int) -> None:
    """Ask the kernel (Linux) to send this process a signal when its parent is gone, however that came about."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


@dataclass(frozen=True, slots=True)
class Program:
    """A process to keep running: its command, what its environment adds, the descriptors it inherits.

    `stop_seconds`: how long after SIGTERM it may go on before it is killed.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: Sequence[int] = ()
    stop_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, in the order of starting (stopping: the order of `stop_order`), and what to say once it is ready.

    `ready_program` is the one that answers `GET /readyz` at `ready_address` with 200 then; it must not fail to start.
    """

    programs: Sequence[Program]
    stop_order: Sequence[str]
    ready_program: str = ""
    ready_address: tuple[str, int] | None = None
    greeting: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        values = json.loads(text)
        address = values["ready_address"]
        values["ready_address"] = (address[0], address[1]) if address else None
        return cls(**{**values, "programs": [Program(**program) for program in values["programs"]]})


class Child:
    """A program, its process and its past."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.due_at = 0.0
        self.deaths = 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches the supervisor alone."""
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.program.command,
            env={**os.environ, **self.program.environment},
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(self.program.descriptors),
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),
        )

    def bury(self) -> int:
        """Its process is gone: set the time of the next start. The exit code."""
        assert self.process is not None
        code = self.process.wait()
        self.process = None
        lived = time.monotonic() - self.started_at
        self.deaths = 1 if lived >= STEADY_SECONDS else self.deaths + 1
        delay = BACK_OFF_SECONDS[min(self.deaths, len(BACK_OFF_SECONDS)) - 1]
        self.due_at = time.monotonic() + delay
        return code


def signal_group(leader: int, number: int) -> bool:
    """Send a signal to every process of a child's session. False where none is left. 0 only looks."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class Supervisor:
    """Keeps a plan's programs running until SIGTERM or SIGINT, then stops them; a second signal kills them."""

    def __init__(self, plan: Plan, *, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.say = say
        self.children = [Child(program) for program in plan.programs]
        self.stops = 0
        # What dead children left behind (gunicorn's workers drain when their master is killed): session, deadline.
        self.remains: dict[int, float] = {}
        self.ready = plan.ready_address is None
        self._wake, self._waker = os.pipe()
        for end in (self._wake, self._waker):
            os.set_blocking(end, False)

    def run(self) -> int:
        """Start everything and stay until told to stop. 0 after a clean stop, 1 where a program cannot start."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # ignored under nohup
            signal.signal(signal.SIGHUP, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        code = 0
        try:
            while not self.stops:
                if hopeless := self._tend():
                    self.say(f"{hopeless} cannot start; its own words are above")
                    code = 1
                    break
                self._sleep(self._pause())
        finally:
            self._stop_all()
        return code

    def _stop(self, number: int, frame: object) -> None:
        self.stops += 1

    def _tend(self) -> str | None:
        """Bury the dead, start what is due, look whether it is ready. The name of a program that cannot start."""
        for child in self.children:
            if child.process is not None and not child.running:
                self.remains[child.process.pid] = time.monotonic() + child.program.stop_seconds
                code = child.bury()
                self.say(f"{child.program.name} ended ({_reason(code)}); starting it again")
                own_fault = code > 0 and child.program.name == self.plan.ready_program and not self.ready
                if own_fault and child.deaths >= HOPELESS:
                    return child.program.name
            if child.process is None and child.due_at <= time.monotonic():
                child.start()
        for leader, deadline in list(self.remains.items()):
            if not signal_group(leader, signal.SIGKILL if deadline <= time.monotonic() else 0):
                del self.remains[leader]
        if not self.ready and self.plan.ready_address and is_ready(*self.plan.ready_address):
            self.ready = True
            if self.plan.greeting:
                print(self.plan.greeting, flush=True)  # noqa: T201
        return None

    def _pause(self) -> float | None:
        """Seconds until something is due; None where only a signal will bring work."""
        if not self.ready or self.remains:
            return 0.2
        due = [child.due_at for child in self.children if child.process is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _sleep(self, seconds: float | None) -> None:
        """Sleep until a signal, at most so long. A signal that came just before counts."""
        select.select([self._wake], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _stop_all(self) -> None:
        """Stop one after the other: SIGTERM, patience, SIGKILL, also to what is left of its session.

        A second signal ends the patience.
        """
        named = {child.program.name: child for child in self.children}
        for child in [named[name] for name in self.plan.stop_order]:
            if child.process is None:
                continue
            if child.running and self.stops < 2:
                self.say(f"stopping {child.program.name}")
                child.process.terminate()
            deadline = time.monotonic() + child.program.stop_seconds
            while child.running and self.stops < 2 and (left := deadline - time.monotonic()) > 0:
                self._sleep(left)
            if child.running:
                self.say(f"killing {child.program.name}")
            signal_group(child.process.pid, signal.SIGKILL)
            child.process.wait()
        for leader in self.remains:
            signal_group(leader, signal.SIGKILL)


def is_ready(host: str, port: int) -> bool:
    """Whether `GET /readyz` answers 200 within a second."""
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(f"GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def _reason(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _say(text: str) -> None:
    print(f"up: {text}", file=sys.stderr, flush=True)  # noqa: T201


def main() -> None:
    """Run the plan on standard input."""
    plan = Plan.from_json(sys.stdin.read())
    sys.exit(Supervisor(plan, say=_say).run())


if __name__ == "__main__":
    main()
