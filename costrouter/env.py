"""THE table of settings that the environment may give. `settings.py`, the README and the checks all read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: its cast (a django-environ cast name), its default as text, and what it does."""

    name: str
    cast: str
    default: Any
    help: str


VARIABLES = (
    Variable("DATABASE_URL", "str", "sqlite in `VAR_DIR`", "Database: `postgres://user:pass@host/db` in production."),
    Variable(
        "REDIS_URL", "str", "", "Redis: Celery's broker and the push of configuration changes. Empty: files in `VAR_DIR`."
    ),
    Variable("SECRET_KEY", "str", "", "Django's signing key. Required; `make setup` generates one."),
    Variable("KEY_HASH_SECRET", "str", "", "Keys the hash under which API keys are stored. Required; never change it."),
    Variable(
        "FIELD_ENCRYPTION_KEYS",
        "list",
        [],
        "Fernet keys, comma separated: the first encrypts upstream credentials, all decrypt. Required.",
    ),
    Variable("TRUSTED_PROXIES", "list", [], "Addresses or networks whose `X-Forwarded-For` is believed."),
    Variable("DRAIN_SECONDS", "int", 30, "How long streams may go on after SIGTERM, in seconds."),
    Variable("DEBUG", "bool", False, "Django's debug pages. Never in production."),
    Variable("ALLOWED_HOSTS", "list", ["*"], "Host names that Django's pages answer to."),
    Variable("CSRF_TRUSTED_ORIGINS", "list", [], "Origins whose forms are accepted behind a TLS proxy: `https://host`."),
    Variable("SECURE_COOKIES", "bool", False, "Send session and CSRF cookies over TLS only. Set it behind a TLS proxy."),
    Variable("CORS_ORIGINS", "list", ["*"], "Origins whose pages may call the relay from a browser."),
    Variable("PORT", "int", 8000, "The port that `manage.py up` serves."),
    Variable("BIND", "str", "127.0.0.1", "The address that `manage.py up` listens on."),
    Variable("WEB_WORKERS", "int", 1, "Web processes that `manage.py up` starts."),
    Variable("MAX_BODY_BYTES", "int", 32 * 1024 * 1024, "The largest request body, in bytes, after decompression."),
    Variable("ADMIN_EMAIL", "str", "admin@costrouter.local", "The e-mail of the administrator that bootstrap makes."),
    Variable("VAR_DIR", "str", "var", "Folder of the embedded default: database, broker, secrets."),
    Variable("LOG_LEVEL", "str", "INFO", "The least severe log line that is written."),
)
