"""`kill -9` anywhere, and a deploy: every answer that a client received in full has its record, all money is right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.cast.installation import Installation, until
from tests.doubles.upstream import COST, Reply, Seen, Upstream, completion, json_reply, sse_reply, whole_stream

CLIENTS = 8
WEB_KILLS = 10
QUESTION = {"model": "killed", "messages": [{"role": "user", "content": "go"}]}
# The bound of QUESTION's input, as `relay/exchange/quote.py` has it: two bytes, a message, a request; 1,000 nanos each.
INPUT = (2 + 16 + 64) * 1_000


class PacedUpstream(Upstream):
    """Answers forever, plain or streamed as asked, a few milliseconds a word; while `gate` is shut, not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: threading.Event | None = None

    def _choose(self, seen: Seen) -> Reply:
        if self.gate is not None:
            return json_reply(completion(), gates={0: self.gate})
        gates = {number: threading.Event() for number in range(1, 5)}
        for number, gate in gates.items():
            self._loop.call_later(0.004 * number, gate.set)
        if seen.json.get("stream"):
            return sse_reply(whole_stream("one ", "two ", "three"), gates=gates)
        return json_reply(completion("one two three"))


class Customer(threading.Thread):
    """Asks again and again, plain and streamed by turns, and keeps the ids of the answers it has received in full."""

    def __init__(self, url: str, key: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.url, self.key, self.stop_asking = url, key, stop
        self.complete: list[str] = []
        self.broken = 0

    def run(self) -> None:
        number = 0
        with httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=20) as http:
            while not self.stop_asking.is_set():
                number += 1
                try:
                    self.ask(http, stream=number % 2 == 0)
                except httpx.HTTPError:
                    self.broken += 1
                    time.sleep(0.05)

    def ask(self, http: httpx.Client, *, stream: bool) -> None:
        with http.stream("POST", "/v1/chat/completions", json={**QUESTION, "stream": stream}) as response:
            body = response.read()
            if response.status_code == 200 and (not stream or body.endswith(b"data: [DONE]\n\n")):
                self.complete.append(response.headers["x-request-id"])


@pytest.fixture
def upstream() -> Iterator[PacedUpstream]:
    double = PacedUpstream()
    double.start()
    yield double
    double.stop()


@pytest.fixture
def installation(tmp_path: Path, upstream: Upstream) -> Iterator[Installation]:
    found = Installation(tmp_path / "var")
    found.manage("secrets")
    yield found
    found.stop()


def new_key(installation: Installation, upstream: Upstream, *, balance: str) -> str:
    """A key of an organization with so many USD, for `killed`: 1 USD in, 2 USD out per million."""
    made = installation.manage(
        *("bootstrap", "--json", "--upstream-url", upstream.url, "--upstream-key", "k", "--models", "killed"),
        *("--balance", balance, "--price-input", "1", "--price-output", "2"),
    ).stdout
    key: str = json.loads(made)["api_key"]
    return key


@pytest.mark.e2e
def test_no_complete_answer_is_lost_and_all_money_is_right(installation: Installation, upstream: Upstream) -> None:
    key = new_key(installation, upstream, balance="1000")
    stop = threading.Event()
    installation.up("--workers", "2")
    customers = [Customer(installation.url, key, stop) for _ in range(CLIENTS)]
    for customer in customers:
        customer.start()

    # The elder of the two web workers, again and again: gunicorn starts another.
    for _ in range(WEB_KILLS):
        progress(customers, 20)
        os.kill(until(lambda: len(found := installation.web_workers()) == 2 and found[0]), signal.SIGKILL)
    # The settlement worker, twice between deleting holds and committing: the supervisor starts another.
    for _ in range(2):
        progress(customers, 20)
        kill_in_mid_settlement(installation)
    # Everything at once, as when the power goes; and a new start.
    progress(customers, 20)
    for pid in installation.processes():
        os.kill(pid, signal.SIGKILL)
    until(lambda: not installation.processes())
    old = installation.up("--workers", "2")
    # A deploy: the new one starts as soon as the old one has been told to stop.
    progress(customers, 20)
    old.send_signal(signal.SIGTERM)
    new = installation.up("--workers", "2")
    assert old.wait(60) == 0
    progress(customers, 20)
    stop.set()
    for customer in customers:
        customer.join(30)
        assert not customer.is_alive()
    stopped(new)

    complete = [number for customer in customers for number in customer.complete]
    assert sum(customer.broken for customer in customers) > 0
    assert not installation.processes()
    installation.manage("sweep", "--all")
    installation.manage("settle")
    report = installation.reconcile()
    assert report["breaches"] == []
    assert (report["open_holds"], report["unsettled"], report["overrun_nanos"]) == (0, 0, 0)
    records = {
        number: (status, cost)
        for number, status, cost in installation.ask(
            "list(UsageRecord.objects.values_list('request_id', 'status', 'cost_nanos'))"
        )
    }
    assert len(set(complete)) == len(complete)
    assert {records[number] for number in complete} == {("ok", COST)}
    assert {cost for status, cost in records.values() if status == "ok"} == {COST}
    assert {cost for status, cost in records.values() if status not in ("ok", "cancelled")} <= {0}
    assert report["charged_nanos"] == sum(cost for _, cost in records.values())


@pytest.mark.e2e
def test_exactly_as_many_run_at_once_as_the_wallet_affords(installation: Installation, upstream: PacedUpstream) -> None:
    """A client's own cap is what is held, all or nothing. The wallet affords ten of it, to the nano-dollar."""
    held = INPUT + 100 * 2_000
    key = new_key(installation, upstream, balance=f"{10 * held / 1_000_000_000:.9f}")
    upstream.gate = threading.Event()
    process = installation.up("--workers", "2")
    until(lambda: installation.ask("ProcessLease.objects.count()") == 2)
    together = threading.Barrier(200)

    def one(http: httpx.Client) -> httpx.Response:
        together.wait(60)
        return http.post("/v1/chat/completions", json={**QUESTION, "max_tokens": 100})

    limits = httpx.Limits(max_connections=None)
    headers = {"authorization": f"Bearer {key}"}
    with (
        httpx.Client(base_url=installation.url, headers=headers, timeout=120, limits=limits) as http,
        ThreadPoolExecutor(200) as pool,
    ):
        asked = [pool.submit(one, http) for _ in range(200)]
        try:
            until(lambda: sum(request.done() for request in asked) + len(upstream.seen) >= 200)
            refused = [request.result() for request in asked if request.done()]
            assert (len(refused), len(upstream.seen)) == (190, 10)
            wallets = installation.ask("list(Wallet.objects.values_list('balance_nanos', 'held_nanos'))")
            assert wallets == [[10 * held, 10 * held]]
        finally:
            upstream.gate.set()
        answers = [request.result() for request in as_completed(asked)]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in refused} == {
        (403, "insufficient_balance")
    }
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [403] * 190
    stopped(process)

    installation.manage("settle")
    report = installation.reconcile()
    assert report["breaches"] == []
    assert (report["open_holds"], report["unsettled"], report["overrun_nanos"]) == (0, 0, 0)
    assert (report["records_by_status"]["ok"], report["charged_nanos"]) == (10, 10 * COST)
    wallets = installation.ask("list(Wallet.objects.values_list('balance_nanos', 'held_nanos'))")
    assert wallets == [[10 * held - 10 * COST, 0]]
    tallied = installation.ask("RefusalTally.objects.aggregate(n=Sum('count'))['n'] or 0")
    assert report["records_by_status"]["refused"] + tallied == 190


def progress(customers: list[Customer], answers: int) -> None:
    """Wait for so many more complete answers."""
    before = sum(len(customer.complete) for customer in customers)
    until(lambda: sum(len(customer.complete) for customer in customers) >= before + answers)


def stopped(process: subprocess.Popen[str]) -> None:
    """Tell `up` to stop, and wait until it has."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def kill_in_mid_settlement(installation: Installation) -> None:
    """Kill the settlement worker while its transaction is open."""
    (worker,) = until(lambda: installation.processes("celery", "worker"))
    url = installation.environment.get("DATABASE_URL")
    if url:
        # Its transaction has deleted holds and written ledger entries, and waits here to add to the day's totals.
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE billing_daytotal IN SHARE MODE")
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
            with psycopg.connect(url, autocommit=True) as looking:
                until(lambda: looking.execute(waiting, ["INSERT INTO billing_daytotal%"]).fetchone()[0])
            os.kill(worker, signal.SIGKILL)
    else:
        until(lambda: stopped_while_writing(worker, installation.var_dir), every=0.0002)
        os.kill(worker, signal.SIGKILL)
    until(lambda: (found := installation.processes("celery", "worker")) and worker not in found)


def stopped_while_writing(pid: int, var_dir: Path) -> bool:
    """Freeze a process if it has SQLite's write lock; True where it still has it then."""
    if not has_write_lock(pid, var_dir):
        return False
    os.kill(pid, signal.SIGSTOP)
    until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", every=0.0002)
    if has_write_lock(pid, var_dir):
        return True
    os.kill(pid, signal.SIGCONT)
    return False


def has_write_lock(pid: int, var_dir: Path) -> bool:
    """Whether a process has byte 120 of the `-shm` file: in WAL mode, that is the lock of the one who writes."""
    inode = (var_dir / "costrouter.sqlite3-shm").stat().st_ino
    fields = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(
        found[3:5] == ["WRITE", str(pid)] and found[5].endswith(f":{inode}") and int(found[6]) <= 120 <= int(found[7])
        for found in fields
        if len(found) == 8
    )
