"""THE table of settings that the environment may give. Django, gunicorn, the README and the checks all read it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SIGN_UPS = ("open", "closed")
# Scheme of EMAIL_URL → (the usual port, what Django's SMTP backend is told).
MAIL_SCHEMES: dict[str, tuple[int, dict[str, Any]]] = {
    "smtp": (25, {}),
    "smtp+tls": (587, {"EMAIL_USE_TLS": True}),
    "smtps": (465, {"EMAIL_USE_SSL": True}),
}


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: its cast (a key of `_CASTS`), its default, and what it does."""

    name: str
    cast: str
    default: Any
    help: str

    @property
    def default_text(self) -> str:
        """The default as it would be written in the environment; empty where there is none."""
        if isinstance(self.default, list):
            return ",".join(self.default)
        return str(self.default).lower() if self.cast == "bool" else str(self.default)


VARIABLES = (
    Variable(
        "DATABASE_URL", "str", "", "Database: `postgres://user:pass@host/db` in production. Empty: SQLite in `VAR_DIR`."
    ),
    Variable(
        "REDIS_URL",
        "str",
        "",
        "Redis: Celery's broker, rate limits across processes, the push of configuration changes. Empty: files in "
        "`VAR_DIR`, and each web process limits for itself.",
    ),
    Variable("SECRET_KEY", "str", "", "Django's signing key. Required; `make setup` generates one."),
    Variable(
        "KEY_HASH_SECRET",
        "str",
        "",
        "Keys the hash under which API keys are stored. Required; never change it; `make setup` generates one.",
    ),
    Variable(
        "FIELD_ENCRYPTION_KEYS",
        "list",
        [],
        "Fernet keys, comma separated: the first encrypts upstream credentials and second factors, all decrypt. "
        "Required; `make setup` generates one.",
    ),
    Variable("TRUSTED_PROXIES", "list", [], "Addresses or networks whose `X-Forwarded-For` is believed."),
    Variable("DRAIN_SECONDS", "int", 30, "How long streams may go on after SIGTERM, in seconds."),
    Variable("DEBUG", "bool", False, "Django's debug pages. Never in production."),
    Variable("ALLOWED_HOSTS", "list", ["*"], "Host names that Django's pages answer to."),
    Variable(
        "CSRF_TRUSTED_ORIGINS", "list", [], "Origins whose forms are accepted behind a TLS proxy: `https://host`."
    ),
    Variable(
        "SECURE_COOKIES", "bool", False, "Send session and CSRF cookies over TLS only. Set it behind a TLS proxy."
    ),
    Variable("CORS_ORIGINS", "list", ["*"], "Origins whose pages may call the relay from a browser."),
    Variable("PORT", "int", 8000, "The port that `manage.py up` serves."),
    Variable("BIND", "str", "127.0.0.1", "The address that `manage.py up` listens on."),
    Variable("WEB_WORKERS", "int", 1, "Web processes that `manage.py up` starts."),
    Variable("MAX_BODY_BYTES", "int", 32 * 1024 * 1024, "The largest request body, in bytes, after decompression."),
    Variable(
        "RESPONSES_DAYS", "int", 30, "Days that an answer of `/v1/responses` can be continued by its id. 0: keep none."
    ),
    Variable("ADMIN_EMAIL", "str", "admin@costrouter.local", "The e-mail of the administrator that bootstrap makes."),
    Variable("SIGN_UP", "str", "open", f"Who may sign up: {', '.join(SIGN_UPS)} (only people who were invited)."),
    Variable(
        "PUBLIC_URL",
        "str",
        "",
        "The address people reach this site at, such as `https://relay.example.com`: in mails and docs. Empty: as the "
        "request says.",
    ),
    Variable(
        "EMAIL_URL",
        "str",
        "",
        "The mail server: `smtp+tls://user:pass@host:587` (STARTTLS), `smtps://` (TLS), `smtp://` (neither). Empty: "
        "mails are printed to the log.",
    ),
    Variable("DEFAULT_FROM_EMAIL", "str", "CostRouter <costrouter@localhost>", "The sender of mails."),
    Variable(
        "GITHUB_CLIENT_ID",
        "str",
        "",
        "Sign-in with GitHub: an OAuth app with the callback `PUBLIC_URL/accounts/github/login/callback/`.",
    ),
    Variable("GITHUB_CLIENT_SECRET", "str", "", "Its secret."),
    Variable(
        "GOOGLE_CLIENT_ID",
        "str",
        "",
        "Sign-in with Google: an OAuth client with the callback `PUBLIC_URL/accounts/google/login/callback/`.",
    ),
    Variable("GOOGLE_CLIENT_SECRET", "str", "", "Its secret."),
    Variable("STAFF_MFA", "bool", False, "Operators must have an authenticator app or a passkey to use the admin."),
    Variable("CONTACT", "str", "", "Whom to ask, on the docs page and in the footer: an e-mail address or a URL."),
    Variable("VAR_DIR", "str", "var", "Folder of the embedded default: database, broker, secrets."),
    Variable("SANDBOX_URL", "str", "", "Where the sandbox answers. Set by `manage.py up` for the processes it starts."),
    Variable("LOG_LEVEL", "str", "INFO", f"The least severe log line that is written: {', '.join(LOG_LEVELS)}."),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A variable whose value cannot be read. Its default stands in for it until the system check has been seen."""

    variable: Variable
    message: str


@dataclass(frozen=True, slots=True)
class Given:
    """What the environment gives: every variable's value, the folder of the embedded default, and what is wrong."""

    values: Mapping[str, Any]
    var_dir: Path
    problems: tuple[Problem, ...]


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("is not a whole number") from None


def _yes_or_no(text: str) -> bool:
    if text.lower() in environ.Env.BOOLEAN_TRUE_STRINGS:
        return True
    if text.lower() in ("false", "off", "n", "no", "0"):
        return False
    raise ValueError("is neither true nor false")


_CASTS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": _whole_number,
    "bool": _yes_or_no,
    "list": lambda text: [part for part in (piece.strip() for piece in text.split(",")) if part],
}


def outside(name: str) -> str:
    """What the environment has under a name that is no row of the table, stripped; "" where it has nothing."""
    return os.environ.get(name, "").strip()


def load(*, environment: Mapping[str, str] | None = None) -> Given:
    """Read the table. Secrets that `make setup` generated stand in `VAR_DIR/secrets.env`; the environment itself wins.

    An empty value counts as none (compose files pass empty variables), save for a list, which it empties. A value that
    cannot be read is a `Problem`, not an exception: commands start, and the system check names the variable.
    """
    env = environ.Env()
    source: Mapping[str, str] = environment if environment is not None else os.environ
    var_dir = (BASE_DIR / (source.get("VAR_DIR") or "var")).resolve()
    env.ENVIRON = source
    if environment is None and (var_dir / "secrets.env").exists():
        environ.Env.read_env(var_dir / "secrets.env", overwrite=False)
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for variable in VARIABLES:
        text = env.str(variable.name, default="")
        if text.strip() or (variable.cast == "list" and variable.name in source):
            try:
                values[variable.name] = _CASTS[variable.cast](text)
                continue
            except ValueError as error:
                problems.append(Problem(variable, str(error)))
        values[variable.name] = list(variable.default) if variable.cast == "list" else variable.default
    values["LOG_LEVEL"] = values["LOG_LEVEL"].upper()
    if values["LOG_LEVEL"] not in LOG_LEVELS:
        problems.append(Problem(_variable("LOG_LEVEL"), "is not a level of severity"))
        values["LOG_LEVEL"] = "INFO"
    values["SIGN_UP"] = values["SIGN_UP"].lower()
    if values["SIGN_UP"] not in SIGN_UPS:
        problems.append(Problem(_variable("SIGN_UP"), "is neither open nor closed"))
        values["SIGN_UP"] = "closed"
    values["PUBLIC_URL"] = values["PUBLIC_URL"].rstrip("/")
    try:
        values["MAIL"] = _mail(values["EMAIL_URL"])
    except ValueError:
        problems.append(Problem(_variable("EMAIL_URL"), "is not the URL of a mail server"))
        values["MAIL"] = _mail("")
    values["DATABASE"] = _database(values["DATABASE_URL"] or f"sqlite:///{var_dir / 'costrouter.sqlite3'}")
    if values["DATABASE"] == _NO_DATABASE:
        problems.append(Problem(_variable("DATABASE_URL"), "is not the URL of a database that is supported"))
    return Given(values, var_dir, tuple(problems))


# Stands in for a database URL that cannot be used: every query on it fails.
_NO_DATABASE = {"ENGINE": "django.db.backends.dummy"}


def _database(url: str) -> dict[str, Any]:
    """Django's settings of a database, SQLite or PostgreSQL; `_NO_DATABASE` for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config: dict[str, Any] = environ.Env.db_url_config(url)
    except Exception:
        return _NO_DATABASE
    return config if config.get("ENGINE", "").endswith(("sqlite3", "postgresql")) else _NO_DATABASE


def _mail(url: str) -> dict[str, Any]:
    """Django's settings of a mail server. Raises ValueError for what is none; the text may hold a password."""
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    parts = urlsplit(url)
    if parts.scheme not in MAIL_SCHEMES or not parts.hostname or parts.path.strip("/"):
        raise ValueError
    port, how = MAIL_SCHEMES[parts.scheme]
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or port,
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        **how,
    }


def _variable(name: str) -> Variable:
    return next(variable for variable in VARIABLES if variable.name == name)
