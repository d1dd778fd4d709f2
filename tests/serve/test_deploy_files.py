"""The files of a deployment agree with the code: what can be known of them without a Docker engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from costrouter.env import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = ("web", "worker", "beat", "migrate")


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


def test_compose_has_every_part() -> None:
    assert set(SERVICES) == {"web", "worker", "beat", "migrate", "postgres", "redis"}
    assert {SERVICES[name]["image"] for name in OURS} == {"costrouter"}


@pytest.mark.parametrize("name", OURS)
def test_compose_gives_our_services_what_they_refuse_to_start_without(name: str) -> None:
    environment = SERVICES[name]["environment"]
    for secret in ("SECRET_KEY", "KEY_HASH_SECRET", "FIELD_ENCRYPTION_KEYS"):
        assert re.fullmatch(rf"\$\{{{secret}:\?.+\}}", environment[secret])
    assert "${POSTGRES_PASSWORD:?" in environment["DATABASE_URL"]
    assert environment["REDIS_URL"] == "redis://redis:6379/0"
    assert set(environment) <= {variable.name for variable in VARIABLES}


def test_compose_starts_in_order() -> None:
    for name in ("web", "worker", "beat"):
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_everything_that_stays_has_a_health_check() -> None:
    for name, service in SERVICES.items():
        if name not in ("web", "migrate"):  # the web's is the image's own; the migration ends
            assert service["healthcheck"]["test"]
    assert "HEALTHCHECK" in DOCKERFILE


def test_drain_fits_into_the_grace_period() -> None:
    (drain,) = [variable.default for variable in VARIABLES if variable.name == "DRAIN_SECONDS"]
    assert SERVICES["web"]["environment"]["DRAIN_SECONDS"] == f"${{DRAIN_SECONDS:-{drain}}}"
    assert seconds(SERVICES["web"]["stop_grace_period"]) > drain + 15


def test_only_the_web_is_published_and_on_loopback_unless_asked() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"web": ["${PUBLISH:-127.0.0.1}:${PORT:-8000}:8000"]}


def test_commands_name_what_is_there() -> None:
    for name in ("worker", "beat"):
        command = SERVICES[name]["command"]
        assert command[:4] == ["celery", "--quiet", "-A", "costrouter.celery"]
        assert command[4] == name
    assert SERVICES["migrate"]["command"] == ["python", "manage.py", "migrate", "--noinput"]
    assert 'CMD ["gunicorn", "-c", "python:costrouter.gunicorn", "costrouter.asgi:application"]' in DOCKERFILE


def test_image_runs_as_nobody_in_particular_from_locked_packages() -> None:
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["10001"]
    assert "--require-hashes -r /requirements.txt" in DOCKERFILE
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", ".env", "var"} <= set(ignored)
    assert not {"requirements.txt", "manage.py", "costrouter", "static", "templates"} & set(ignored)


def test_health_check_fails_where_nothing_is_served() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "costrouter.healthcheck"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": "1"},
        check=False,
    )
    assert found.returncode == 1


def locked(name: str) -> dict[str, str]:
    """Package → version of a lock file."""
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_lock_file_pins_by_hash_and_names_no_place(name: str) -> None:
    text = (ROOT / name).read_text()
    entries = re.split(r"\n(?=[a-z])", text.split("\n", 2)[2])
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"https?://|--index|--find-links|--extra|file:|/(?:opt|work|root|home|tmp)/", text)


def test_lock_files_satisfy_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    production, development = locked("requirements.txt"), locked("requirements-dev.txt")
    for text in project["project"]["dependencies"]:
        wanted = Requirement(text)
        assert wanted.name in production, f"{wanted.name}: run `make lock`"
        assert wanted.specifier.contains(production[wanted.name])
    for text in project["dependency-groups"]["dev"]:
        assert Requirement(text).name.lower() in development, f"{text}: run `make lock`"
    assert production.items() <= development.items()


def test_ci_runs_the_same_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")


def test_make_says_the_same_again_where_no_virtual_environment_can_be_made(tmp_path: Path) -> None:
    """Without Debian's python3-venv, `python -m venv` fails late and leaves the interpreter behind."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$2" = venv ] || exit 0\nmkdir -p "$3/bin" && touch "$3/bin/python"\nexit 1\n')
    python.chmod(0o755)
    command = ["make", "-f", str(ROOT / "Makefile"), f"PYTHON={python}", ".venv/bin/python"]
    # As from a shell: the make that runs these tests tells its children that they are its children.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    for _ in range(2):
        found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert found.returncode == 2
        assert found.stdout == ""
        assert found.stderr.startswith(
            f"{python} cannot make a virtual environment. On Debian: apt-get install python3-venv"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["python"]
