"""`make bench`: requests a second through the relay, beside a raw pass-through, on SQLite and on PostgreSQL.

The gateway alone is pinned to the first core (one worker); load, mock upstream and database to the second. Machines are
noisy: read the ratios. Every run ends in a settlement and a reconciliation, whose breaches fail it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.servers import free_port, postgres, redis

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SECONDS = os.environ.get("SECS", "5")
SHAPES = (
    ("plain, 32 connections", 0, 32, 0),
    ("plain, 1 connection", 0, 1, 0),
    ("stream of 50, 32", 1, 32, 0),
    ("stream of 50, 1", 1, 1, 0),
    ("plain 100 kB, 32", 0, 32, 100),
)


@contextlib.contextmanager
def process(core: int, *command: str, **environment: str) -> Iterator[None]:
    """A command pinned to a core, in the background; stopped at the end."""
    child = subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        child.terminate()
        child.wait(60)


def ready(url: str) -> None:
    """Wait until something answers."""
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url).status_code < 500:
                return
        if time.monotonic() > deadline:
            raise SystemExit(f"{url} does not answer")
        time.sleep(0.1)


def load(url: str, key: str, stream: int, connections: int, kilobytes: int) -> tuple[float, str, str]:
    """(requests a second, median, 99th percentile) of wrk; stops the benchmark on any answer that is not 2xx."""
    out = subprocess.run(
        [
            "taskset",
            "-c",
            "1",
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{SECONDS}s",
            "--latency",
            "-s",
            str(HERE / "chat.lua"),
            url,
        ],
        env={**os.environ, "KEY": key, "STREAM": str(stream), "BODY_KB": str(kilobytes)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if "Non-2xx" in out:
        raise SystemExit(out)
    figures = [
        re.search(pattern, out) for pattern in (r"Requests/sec:\s+(\S+)", r"\n\s+50%\s+(\S+)", r"\n\s+99%\s+(\S+)")
    ]
    rate, median, late = (found.group(1) if found else "?" for found in figures)
    return float(rate), median, late


def measure(name: str, url: str, key: str = "") -> list[float]:
    """Every shape once, after a short warm-up. Prints a line each."""
    load(url, key, 0, 16, 0)
    rates = []
    for label, stream, connections, kilobytes in SHAPES:
        rate, median, late = load(url, key, stream, connections, kilobytes)
        rates.append(rate)
        print(f"{name:<22} {label:<24} {rate:>10,.0f}/s   p50 {median:>8}   p99 {late:>8}", flush=True)
    return rates


def converted(name: str, url: str, key: str) -> None:
    """The same through a conversion, an Anthropic client onto this upstream, beside a pass-through just before."""
    for label, stream in (("plain, 32", 0), ("stream of 50, 32", 1)):
        passed, _, _ = load(f"{url}/chat/completions", key, stream, 32, 0)
        rate, median, late = load(f"{url}/messages", key, stream, 32, 0)
        share = f"{passed / rate:.2f} times the cost of a pass-through"
        print(f"{name:<22} {'converted ' + label:<24} {rate:>10,.0f}/s   p50 {median:>8}   p99 {late:>8}   {share}")


def manage(*arguments: str, **environment: str) -> str:
    """Run a management command; its output."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    ).stdout


def relay(name: str, upstream: str, **environment: str) -> list[float]:
    """The relay with billing on, its settlement running, on whatever database the environment names."""
    with tempfile.TemporaryDirectory(prefix="costrouter-bench-") as folder:
        environment = {**environment, "VAR_DIR": folder}
        subprocess.run(
            [sys.executable, "-m", "costrouter.secretfile"],
            cwd=ROOT,
            check=True,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
        )
        made = json.loads(
            manage(
                "bootstrap",
                "--json",
                "--upstream-url",
                upstream,
                "--upstream-key",
                "none",
                "--models",
                "bench",
                "--balance",
                "1000000",
                "--price-input",
                "0.15",
                "--price-output",
                "0.6",
                **environment,
            )
        )
        port = str(free_port())
        web = [
            sys.executable,
            "-m",
            "gunicorn",
            "-c",
            "python:costrouter.gunicorn",
            "-w",
            "1",
            "-b",
            f"127.0.0.1:{port}",
            "costrouter.asgi:application",
        ]
        celery = [sys.executable, "-m", "celery", "--quiet", "-A", "costrouter.celery"]
        with (
            process(1, *celery, "worker", "-P", "solo", "--without-gossip", "--without-mingle", **environment),
            process(1, *celery, "beat", "-s", f"{folder}/beat", **environment),
            process(0, *web, PORT=port, **environment),
        ):
            ready(f"http://127.0.0.1:{port}/readyz")
            rates = measure(name, f"http://127.0.0.1:{port}/v1/chat/completions", made["api_key"])
            converted(name, f"http://127.0.0.1:{port}/v1", made["api_key"])
        manage("sweep", **environment)
        manage("settle", **environment)
        report = json.loads(manage("reconcile", "--json", **environment))
        print(f"{name:<22} {report['records']:,} records, {report['charged_nanos']:,} nanos charged, no breach")
        return rates


def main() -> None:
    """Everything, and what it comes to beside the raw pass-through."""
    port, raw_port = str(free_port()), str(free_port())
    upstream = f"http://127.0.0.1:{port}/v1"
    with process(1, sys.executable, "-m", "tests.benchmarks.upstream", port):
        ready(f"http://127.0.0.1:{port}/stats")
        raw = [
            sys.executable,
            "-m",
            "uvicorn",
            "tests.benchmarks.raw:application",
            "--port",
            raw_port,
            "--loop",
            "uvloop",
            "--http",
            "httptools",
            "--no-access-log",
        ]
        with process(0, *raw, BENCH_UPSTREAM=upstream):
            time.sleep(2)
            base = measure("raw pass-through", f"http://127.0.0.1:{raw_port}/v1/chat/completions")
        results = {"relay, SQLite": relay("relay, SQLite", upstream)}
        with postgres() as database, redis() as broker:
            os.environ.update(DATABASE_URL=database, REDIS_URL=broker)
            results["relay, PostgreSQL"] = relay("relay, PostgreSQL", upstream)
    for name, rates in results.items():
        shares = ", ".join(
            f"{label} {rate / raw:.0%}" for (label, *_), rate, raw in zip(SHAPES, rates, base, strict=True)
        )
        print(f"{name} of raw: {shares}")


if __name__ == "__main__":
    main()
