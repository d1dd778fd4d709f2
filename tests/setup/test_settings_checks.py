"""A wrong or missing setting is a system check with a hint, and nothing starts before it is right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage

from costrouter import checks
from costrouter.env import VARIABLES, load

ROOT = Path(__file__).resolve().parents[2]


def messages() -> dict[str | None, CheckMessage]:
    """What our checks find, by their number."""
    found = [
        *checks.secrets_are_set(),
        *checks.network_settings_are_valid(),
        *checks.sign_in_settings_are_valid(),
        *checks.environment_can_be_read(),
    ]
    return {message.id: message for message in found}


def test_nothing_to_say_of_good_settings() -> None:
    assert messages() == {}


@pytest.mark.parametrize(
    ("number", "name", "value", "words", "hint"),
    [
        ("E001", "SECRET_KEY", "short", "SECRET_KEY is missing or shorter", "make setup"),
        ("E002", "KEY_HASH_SECRET", "", "KEY_HASH_SECRET is missing or shorter", "make setup"),
        ("E003", "FIELD_ENCRYPTION_KEYS", [], "FIELD_ENCRYPTION_KEYS is missing", "make setup"),
        ("E004", "FIELD_ENCRYPTION_KEYS", ["secret!"], "Key 1 of FIELD_ENCRYPTION_KEYS", "32 random bytes"),
        ("E005", "TRUSTED_PROXIES", ["10.0.0.0/33"], "TRUSTED_PROXIES", "CIDR"),
        ("E006", "DRAIN_SECONDS", -1, "DRAIN_SECONDS is out of range", "between 0 and 3600"),
        ("E007", "PORT", 70000, "PORT is out of range", "between 1 and 65535"),
        ("E008", "MAX_BODY_BYTES", 10, "MAX_BODY_BYTES is out of range", "Between 1024"),
        ("E010", "REDIS_URL", "http://x", "REDIS_URL is not a Redis URL", "redis://"),
        ("E012", "PUBLIC_URL", "relay.example.com", "PUBLIC_URL is not the address", "https://relay.example.com"),
        ("E012", "PUBLIC_URL", "https://relay.example.com/app", "PUBLIC_URL is not the address", "no path"),
        ("E013", "EMAIL_URL", "smtp://mail.example", "neither PUBLIC_URL nor ALLOWED_HOSTS", "Set PUBLIC_URL"),
        ("E014", "SIGN_IN_PROVIDERS", {"github": ("id", "")}, "GITHUB_CLIENT_SECRET is missing", "or neither"),
        ("E014", "SIGN_IN_PROVIDERS", {"google": ("", "secret!")}, "GOOGLE_CLIENT_ID is missing", "or neither"),
        ("E015", "CONTACT", "the admin", "CONTACT is neither", "ops@example.com"),
        ("E016", "DEFAULT_FROM_EMAIL", "CostRouter", "DEFAULT_FROM_EMAIL is not", "costrouter@example.com"),
        ("E011", "WEB_WORKERS", 0, "WEB_WORKERS must be at least 1", "One a core"),
    ],
)
def test_each_check(settings: Any, number: str, name: str, value: object, words: str, hint: str) -> None:
    setattr(settings, name, value)
    found = messages()
    assert list(found) == [f"costrouter.{number}"]
    message = found[f"costrouter.{number}"]
    assert words in message.msg
    assert hint in (message.hint or "")
    assert "secret!" not in str(message)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "abc", "PORT is not a whole number."),
        ("DRAIN_SECONDS", "1.5", "DRAIN_SECONDS is not a whole number."),
        ("DEBUG", "flase", "DEBUG is neither true nor false."),
        ("LOG_LEVEL", "loud", "LOG_LEVEL is not a level of severity."),
        ("DATABASE_URL", "mysql://u:hunter2@h/n", "DATABASE_URL is not the URL of a database that is supported."),
        ("DATABASE_URL", "postgres://u:hunter2@h:x/n", "DATABASE_URL is not the URL of a database that is supported."),
        ("DATABASE_URL", "hunter2", "DATABASE_URL is not the URL of a database that is supported."),
        ("SIGN_UP", "maybe", "SIGN_UP is neither open nor closed."),
        ("EMAIL_URL", "hunter2", "EMAIL_URL is not the URL of a mail server."),
        ("EMAIL_URL", "http://u:hunter2@mail.example", "EMAIL_URL is not the URL of a mail server."),
        ("EMAIL_URL", "smtp://u:hunter2@mail.example:port", "EMAIL_URL is not the URL of a mail server."),
    ],
)
def test_value_that_cannot_be_read(settings: Any, name: str, value: str, words: str) -> None:
    settings.ENVIRONMENT_PROBLEMS = load(environment={name: value}).problems
    found = messages()
    assert list(found) == ["costrouter.E009"]
    assert found["costrouter.E009"].msg == words
    assert next(variable.help for variable in VARIABLES if variable.name == name) in str(found["costrouter.E009"].hint)
    assert "hunter2" not in str(found)


def test_defaults_are_those_of_the_table() -> None:
    given = load(environment={})
    assert given.problems == ()
    assert {variable.name: given.values[variable.name] for variable in VARIABLES} == {
        variable.name: variable.default for variable in VARIABLES
    }
    assert given.var_dir == ROOT / "var"
    assert given.values["DATABASE"]["NAME"] == str(ROOT / "var" / "costrouter.sqlite3")


def test_values_are_read_as_what_they_are() -> None:
    given = load(
        environment={
            "PORT": "9000",
            "DEBUG": "yes",
            "SECURE_COOKIES": "off",
            "ALLOWED_HOSTS": "a.example, b.example,",
            "CORS_ORIGINS": "",
            "WEB_WORKERS": "",
            "LOG_LEVEL": "warning",
            "DATABASE_URL": "postgres://user:p%40ss@db:5433/name",
        }
    )
    assert given.problems == ()
    assert given.values["PORT"] == 9000
    assert (given.values["DEBUG"], given.values["SECURE_COOKIES"]) == (True, False)
    assert given.values["ALLOWED_HOSTS"] == ["a.example", "b.example"]
    # An empty list is nobody; an empty number is the default.
    assert given.values["CORS_ORIGINS"] == []
    assert given.values["WEB_WORKERS"] == 1
    assert given.values["LOG_LEVEL"] == "WARNING"
    assert given.values["DATABASE"]["PASSWORD"] == "p@ss"


SMTP = "django.core.mail.backends.smtp.EmailBackend"


@pytest.mark.parametrize(
    ("url", "mail"),
    [
        ("", {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}),
        ("smtp://mail", {"EMAIL_BACKEND": SMTP, "EMAIL_HOST": "mail", "EMAIL_PORT": 25}),
        (
            "smtp+tls://user%40x:p%40ss@mail.example",
            {
                "EMAIL_BACKEND": SMTP,
                "EMAIL_HOST": "mail.example",
                "EMAIL_PORT": 587,
                "EMAIL_HOST_USER": "user@x",
                "EMAIL_HOST_PASSWORD": "p@ss",
                "EMAIL_USE_TLS": True,
            },
        ),
        (
            "smtps://mail.example:2465/",
            {"EMAIL_BACKEND": SMTP, "EMAIL_HOST": "mail.example", "EMAIL_PORT": 2465, "EMAIL_USE_SSL": True},
        ),
    ],
)
def test_mail_servers(url: str, mail: dict[str, Any]) -> None:
    given = load(environment={"EMAIL_URL": url})
    assert given.problems == ()
    assert {name: value for name, value in given.values["MAIL"].items() if value != ""} == mail


def test_sign_up_is_closed_where_its_setting_cannot_be_read() -> None:
    assert load(environment={"SIGN_UP": "Closed"}).values["SIGN_UP"] == "closed"
    assert load(environment={"SIGN_UP": "opne"}).values["SIGN_UP"] == "closed"
    assert load(environment={"PUBLIC_URL": "https://relay.example.com/"}).values["PUBLIC_URL"] == (
        "https://relay.example.com"
    )


def manage(*arguments: str, var_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A management command as its user runs it, with nothing in the environment but what is given."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "VAR_DIR": str(var_dir), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_starts_without_secrets_and_one_command_makes_them(tmp_path: Path) -> None:
    refused = manage("up", var_dir=tmp_path)
    assert refused.returncode == 1
    assert "costrouter.E001" in refused.stderr
    assert "make setup" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert manage("secrets", var_dir=tmp_path).returncode == 0
    assert manage("check", var_dir=tmp_path).returncode == 0


def test_wrong_settings_are_named_without_a_traceback(tmp_path: Path) -> None:
    manage("secrets", var_dir=tmp_path)
    for command in ("check", "migrate", "up"):
        found = manage(command, var_dir=tmp_path, PORT="abc", DATABASE_URL="mysql://u:hunter2@h/n")
        assert found.returncode == 1
        assert "PORT is not a whole number" in found.stderr
        assert "DATABASE_URL is not the URL" in found.stderr
        assert "Traceback" not in found.stderr
        assert "hunter2" not in found.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "gunicorn", "-c", "python:costrouter.gunicorn", "costrouter.asgi:application"),
        ("-m", "celery", "-A", "costrouter.celery", "worker", "-P", "solo"),
        ("-m", "celery", "-A", "costrouter.celery", "beat", "--pidfile="),
    ],
)
def test_processes_that_no_command_starts_refuse_too(tmp_path: Path, command: tuple[str, ...]) -> None:
    found = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode != 0
    assert "SECRET_KEY is missing" in found.stdout + found.stderr
