"""`kill -9` anywhere: every answer that a client received in full has its record, and after a sweep nothing is held."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.doubles import Reply, Seen, Upstream, completion, json_reply, sse_reply, whole_stream
from tests.test_up import Installation, until

CLIENTS = 8


class PacedUpstream(Upstream):
    """Answers forever, plain or streamed as asked, a few milliseconds a word."""

    def _choose(self, seen: Seen) -> Reply:
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
        question = {"model": "killed", "messages": [{"role": "user", "content": "go"}], "stream": stream}
        with http.stream("POST", "/v1/chat/completions", json=question) as response:
            body = response.read()
            if response.status_code == 200 and (not stream or body.endswith(b"data: [DONE]\n\n")):
                self.complete.append(response.headers["x-request-id"])


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    double = PacedUpstream().start()
    yield double
    double.stop()


@pytest.fixture
def installation(tmp_path: Path, upstream: Upstream) -> Iterator[Installation]:
    found = Installation(tmp_path / "var")
    found.manage("secrets")
    yield found
    found.stop()


def everything(installation: Installation) -> list[int]:
    return installation.processes()


@pytest.mark.e2e
def test_no_complete_answer_is_lost_and_no_hold_stays(installation: Installation, upstream: Upstream) -> None:
    made = json.loads(
        installation.manage(
            *("bootstrap", "--json", "--upstream-url", upstream.url, "--upstream-key", "k", "--models", "killed"),
            *("--balance", "100", "--price-input", "1", "--price-output", "2"),
        ).stdout
    )
    stop = threading.Event()
    installation.up()
    url = f"http://127.0.0.1:{installation.port}"
    customers = [Customer(url, made["api_key"], stop) for _ in range(CLIENTS)]
    for customer in customers:
        customer.start()

    # The web worker alone, three times: gunicorn starts another.
    for _ in range(3):
        progress(customers, 40)
        os.kill(web_worker(installation), signal.SIGKILL)
    # Then everything at once, as when the power goes; and a new start.
    progress(customers, 40)
    for pid in everything(installation):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not everything(installation))
    installation.up()
    progress(customers, 40)
    stop.set()
    for customer in customers:
        customer.join(30)

    complete = [number for customer in customers for number in customer.complete]
    assert sum(customer.broken for customer in customers) > 0
    until(lambda: installation.reconcile()["open_holds"] == installation.reconcile()["orphaned_holds"])
    installation.manage("sweep", "--all")
    installation.manage("settle")
    report = installation.reconcile()
    assert report["breaches"] == []
    assert (report["open_holds"], report["unsettled"], report["overrun_nanos"]) == (0, 0, 0)
    recorded = ids_of_records(installation)
    assert len(set(complete)) == len(complete)
    assert {recorded[number] for number in complete} == {"ok"}
    charged = sum(status == "ok" for status in recorded.values()) * (10 * 1_000 + 5 * 2_000)
    assert charged <= report["charged_nanos"] <= charged + 20_000 * list(recorded.values()).count("cancelled")


def progress(customers: list[Customer], answers: int) -> None:
    """Wait for so many more complete answers."""
    before = sum(len(customer.complete) for customer in customers)
    until(lambda: sum(len(customer.complete) for customer in customers) >= before + answers)


def web_worker(installation: Installation) -> int:
    """gunicorn's worker: the younger of its two processes."""
    return until(lambda: len(found := installation.processes("gunicorn")) >= 2 and max(found))


def ids_of_records(installation: Installation) -> dict[str, str]:
    """Request id → status, asked of the database by the product's own shell."""
    code = (
        "import json; from billing.models import UsageRecord as U; "
        "print(json.dumps(dict(U.objects.values_list('request_id', 'status'))))"
    )
    out = installation.manage("shell", "-v", "0", "-c", code).stdout
    found: dict[str, str] = json.loads(out)
    return found
