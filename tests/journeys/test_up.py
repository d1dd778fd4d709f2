"""`manage.py up` as a user runs it: real processes, one of them killed now and then, and nothing left at the end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from openai import OpenAI

from channels_app.models import Channel
from costrouter.env import load
from costrouter.serve import programs
from costrouter.serve.supervisor import is_ready
from costrouter.setup.bootstrap import Upstream, bootstrap, sandbox_upstream
from tests.cast.installation import DEADLINE, Installation, until
from tests.servers import free_port


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    found = Installation(tmp_path_factory.mktemp("up") / "var")
    found.manage("secrets")
    found.manage("bootstrap", "--demo")
    found.up()
    yield found
    found.stop()


@pytest.mark.e2e
def test_prints_a_line_that_works_as_pasted(installation: Installation, tmp_path: Path) -> None:
    said = installation.said.read_text()
    site = f"http://127.0.0.1:{installation.port}"
    assert f"  Sign in   {site}/accounts/login/   admin@costrouter.local, password in" in said
    assert f"  API Docs  {site}/docs/" in said
    line = next(line for line in said.splitlines() if line.startswith("curl "))
    found = subprocess.run(["bash", "-c", f"{line} --silent"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout)["choices"][0]["message"]["content"].startswith("You said: Hello.")


@pytest.mark.e2e
def test_requests_are_settled_even_if_the_worker_is_killed(installation: Installation) -> None:
    (worker,) = installation.processes("celery", "worker")
    os.kill(worker, signal.SIGKILL)
    key = (installation.var_dir / "demo-key").read_text().strip()
    before = installation.reconcile()["records"]
    with OpenAI(base_url=f"http://127.0.0.1:{installation.port}/v1", api_key=key, max_retries=0) as client:
        question = [{"role": "user", "content": "Hello"}]
        client.chat.completions.create(model="sandbox-fast", messages=question)  # type: ignore[arg-type]
    (again,) = until(lambda: installation.processes("celery", "worker"))
    assert again != worker
    found = until(lambda: (report := installation.reconcile())["unsettled"] == 0 and report)
    assert found["records"] == before + 1
    # 5 × 0.15 and 40 × 0.6 micro-dollars each: every request here had the same five and forty tokens.
    assert found["charged_nanos"] == found["records"] * 24_750
    assert found["breaches"] == []


@pytest.mark.e2e
@pytest.mark.parametrize("words", [("gunicorn",), ("costrouter.sandbox",), ("beat",)])
def test_killed_child_comes_back(installation: Installation, words: tuple[str, ...]) -> None:
    assert installation.process
    oldest = installation.processes(*words)[0]
    os.kill(oldest, signal.SIGKILL)
    until(lambda: (found := installation.processes(*words)) and oldest not in found)
    until(lambda: is_ready("127.0.0.1", installation.port))
    assert installation.process.poll() is None


@pytest.mark.e2e
def test_taken_port_is_an_error_at_once(installation: Installation) -> None:
    found = installation.manage("up", "--port", str(installation.port), check=False)
    assert found.returncode == 1
    assert f"127.0.0.1:{installation.port}: Address already in use. Choose another" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.e2e
def test_one_interrupt_stops_everything(installation: Installation) -> None:
    """Last: it ends the installation of this file."""
    assert installation.process
    installation.process.send_signal(signal.SIGINT)
    assert installation.process.wait(DEADLINE) == 0
    assert installation.processes() == []
    assert not is_ready("127.0.0.1", installation.port)
    assert installation.reconcile()["breaches"] == []


@pytest.fixture
def broker(tmp_path: Path, settings: Any) -> Path:
    settings.VAR_DIR = tmp_path
    settings.CELERY_BROKER_DIR = tmp_path / "broker"
    settings.REDIS_URL = ""
    return tmp_path / "broker"


@pytest.mark.django_db
def test_sandbox_runs_only_where_there_is_a_sandbox_channel(broker: Path) -> None:
    bootstrap(upstream=Upstream(provider="openai_compatible", base_url="http://127.0.0.1:1/v1", models=["alpha"]))
    plan = programs.make_plan(port=8001, workers=2)
    assert [program.name for program in plan.programs] == ["web", "worker", "beat"]
    assert plan.stop_order == ["web", "worker", "beat"]
    assert all("SANDBOX_URL" not in program.environment for program in plan.programs)
    bootstrap(upstream=sandbox_upstream())
    plan = programs.make_plan(port=8001, workers=2)
    assert [program.name for program in plan.programs] == ["sandbox", "web", "worker", "beat"]
    (descriptor,) = plan.programs[0].descriptors
    with socket.socket(fileno=descriptor) as listener:
        port = listener.getsockname()[1]
    web = plan.programs[1]
    assert web.environment["SANDBOX_URL"] == f"http://127.0.0.1:{port}/v1"
    assert (web.environment["PORT"], web.environment["WEB_WORKERS"]) == ("8001", "2")
    # The web server has its whole drain before it is killed.
    assert web.stop_seconds > load().values["DRAIN_SECONDS"] + 15


@pytest.mark.django_db
def test_up_leaves_what_operators_made(broker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an empty database nothing is made either: `up` only migrates, and then becomes the supervisor."""
    plans: list[str] = []
    monkeypatch.setattr("costrouter.management.commands.up._become_supervisor", plans.append)
    monkeypatch.setattr("costrouter.management.commands.up.connection.close", lambda: None)
    call_command("up", "--port", str(free_port()))
    assert [program["name"] for program in json.loads(plans[0])["programs"]] == ["web", "worker", "beat"]
    assert not Channel.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("option", "value"), [("--port", "0"), ("--port", "70000"), ("--workers", "0")])
def test_options_out_of_range(option: str, value: str) -> None:
    with pytest.raises(CommandError, match=option):
        call_command("up", option, value)


def test_broker_is_emptied(broker: Path) -> None:
    programs.clean_broker()
    for name in ("1_x.celery.msg", "control/celery.exchange", "taken/0_x.celery.msg"):
        (broker / name).write_text("")
    programs.clean_broker()
    assert sorted(path.relative_to(broker).as_posix() for path in broker.rglob("*")) == ["control", "taken"]


def test_empty_files_do_not_kill_the_next_worker(broker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from costrouter import celery

    monkeypatch.setattr(celery, "_broker_folders", lambda app: [broker, broker / "control"])
    programs.clean_broker()
    (broker / "1_x.celery.msg").write_text("")
    (broker / "2_x.celery.msg").write_text("{}")
    (broker / "control" / "celery.exchange").write_text("")
    celery.drop_empty_files()
    assert [path.name for path in broker.glob("**/*") if path.is_file()] == ["2_x.celery.msg"]


def test_schedule_expires_after_one_period() -> None:
    from costrouter.celery import app

    schedule = app.conf.beat_schedule
    assert {name: entry["options"]["expires"] for name, entry in schedule.items()} == {
        "billing.tasks.settle": 1,
        "billing.tasks.sweep": 10,
        "billing.tasks.reconcile_nightly": 86_400,
        "billing.tasks.check_totals_nightly": 86_400,
        "billing.tasks.prune": 86_400,
        "channels_app.tasks.prune_hours": 86_400,
        "costrouter.sign_in.tasks.forget_sessions": 86_400,
        "relay.jobs.forget_turns": 3_600,
        "relay.jobs.poll_videos": 10,
    }
    app.loader.import_default_modules()
    assert {entry["task"] for entry in schedule.values()} <= set(app.tasks)
