"""System checks of the settings: a wrong or missing one is refused at start, with a hint."""

from __future__ import annotations

from email.utils import parseaddr
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, register, run_checks
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

from costrouter.lib.netguard import networks_problem

_GENERATE = "Run `make setup`, which generates it into VAR_DIR once, or set it in the environment."


@register()
def secrets_are_set(**kwargs: Any) -> list[CheckMessage]:
    """SECRET_KEY, KEY_HASH_SECRET and FIELD_ENCRYPTION_KEYS are present and well formed."""
    found: list[CheckMessage] = []
    try:
        secret_key = settings.SECRET_KEY
    except ImproperlyConfigured:
        secret_key = ""
    if len(secret_key) < 32:
        found.append(
            Error("SECRET_KEY is missing or shorter than 32 characters.", hint=_GENERATE, id="costrouter.E001")
        )
    if len(settings.KEY_HASH_SECRET) < 32:
        found.append(
            Error("KEY_HASH_SECRET is missing or shorter than 32 characters.", hint=_GENERATE, id="costrouter.E002")
        )
    if not settings.FIELD_ENCRYPTION_KEYS:
        found.append(Error("FIELD_ENCRYPTION_KEYS is missing.", hint=_GENERATE, id="costrouter.E003"))
    for number, key in enumerate(settings.FIELD_ENCRYPTION_KEYS, 1):
        try:
            Fernet(key)
        except ValueError:
            found.append(
                Error(
                    f"Key {number} of FIELD_ENCRYPTION_KEYS is not a Fernet key.",
                    hint="32 random bytes in URL-safe base64; `make setup` generates one.",
                    id="costrouter.E004",
                )
            )
    return found


@register()
def network_settings_are_valid(**kwargs: Any) -> list[CheckMessage]:
    """TRUSTED_PROXIES names addresses; numbers are in range; the broker is of a kind we support."""
    found: list[CheckMessage] = []
    if problem := networks_problem(settings.TRUSTED_PROXIES):
        found.append(
            Error(
                f"TRUSTED_PROXIES: {problem}", hint="Addresses or CIDR networks, comma separated.", id="costrouter.E005"
            )
        )
    if not 0 <= settings.DRAIN_SECONDS <= 3600:
        found.append(Error("DRAIN_SECONDS is out of range.", hint="Seconds between 0 and 3600.", id="costrouter.E006"))
    if not 0 < settings.PORT < 65536:
        found.append(Error("PORT is out of range.", hint="A number between 1 and 65535.", id="costrouter.E007"))
    if not 1024 <= settings.MAX_BODY_BYTES <= 1 << 30:
        found.append(
            Error("MAX_BODY_BYTES is out of range.", hint="Between 1024 and 1073741824.", id="costrouter.E008")
        )
    if settings.REDIS_URL and not settings.REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
        found.append(
            Error("REDIS_URL is not a Redis URL.", hint="redis://host:6379/0, or nothing.", id="costrouter.E010")
        )
    if settings.WEB_WORKERS < 1:
        found.append(Error("WEB_WORKERS must be at least 1.", hint="One a core is a good start.", id="costrouter.E011"))
    return found


@register()
def sign_in_settings_are_valid(**kwargs: Any) -> list[CheckMessage]:
    """Addresses are addresses, providers are whole, and links in mails lead to us whatever a request says."""
    found: list[CheckMessage] = []
    if settings.PUBLIC_URL and not _is_site(settings.PUBLIC_URL):
        found.append(
            Error(
                "PUBLIC_URL is not the address of a site.",
                hint="A scheme and a host, no path: https://relay.example.com.",
                id="costrouter.E012",
            )
        )
    if settings.EMAIL_URL and not settings.PUBLIC_URL and "*" in settings.ALLOWED_HOSTS:
        found.append(
            Error(
                "EMAIL_URL is set, but neither PUBLIC_URL nor ALLOWED_HOSTS is.",
                hint="Else whoever asks for a password's link decides which host it leads to. Set PUBLIC_URL.",
                id="costrouter.E013",
            )
        )
    for provider, pair in settings.SIGN_IN_PROVIDERS.items():
        if any(pair) and not all(pair):
            name = provider.upper()
            missing = f"{name}_CLIENT_ID" if pair[1] else f"{name}_CLIENT_SECRET"
            found.append(
                Error(
                    f"{missing} is missing.",
                    hint=f"Sign-in with {provider} takes both {name}_CLIENT_ID and {name}_CLIENT_SECRET, or neither.",
                    id="costrouter.E014",
                )
            )
    if settings.CONTACT and not (_is_address(settings.CONTACT) or settings.CONTACT.startswith(("https://", "http://"))):
        found.append(
            Error("CONTACT is neither an e-mail address nor a URL.", hint="ops@example.com", id="costrouter.E015")
        )
    if not _is_address(parseaddr(settings.DEFAULT_FROM_EMAIL)[1]):
        found.append(
            Error(
                "DEFAULT_FROM_EMAIL is not an e-mail address.",
                hint="CostRouter <costrouter@example.com>",
                id="costrouter.E016",
            )
        )
    return found


def _is_site(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.path or parts.query or "@" in url)


def _is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


@register()
def environment_can_be_read(**kwargs: Any) -> list[CheckMessage]:
    """Every variable of the table could be read as what it is. The value is not repeated: it may be a secret."""
    return [
        Error(
            f"{problem.variable.name} {problem.message}.",
            hint=f"{problem.variable.help} Default: {problem.variable.default_text or 'none'}.",
            id="costrouter.E009",
        )
        for problem in settings.ENVIRONMENT_PROBLEMS
    ]


def refuse_errors() -> None:
    """Exit with the messages where a system check finds an error: for processes that no management command starts."""
    errors = [message for message in run_checks() if message.is_serious()]
    if errors:
        raise SystemExit("CostRouter does not start:\n" + "\n".join(str(message) for message in errors))
