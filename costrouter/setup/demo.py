"""The first start of `make run`: something to sign in with, something to call, and a key to call it with."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from django.conf import settings

from accounts.selectors import key_by_digest
from channels_app.models import Channel, Provider
from costrouter.env import outside
from costrouter.lib.crypto import key_digest
from costrouter.lib.ids import password as new_password
from costrouter.serve.secretfile import write_private
from costrouter.setup.bootstrap import Result, Upstream, bootstrap, sandbox_upstream

BALANCE = Decimal("10")
ORGANIZATION = "Demo"
# Current chat models that the price data know; the admin adds others.
OPENAI_MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5.5",
    "gpt-6-luna",
    "gpt-6-sol",
    "o3",
    "o4-mini",
)


def key_file() -> Path:
    """Where the demonstration's API key is kept, for its owner alone."""
    return Path(settings.VAR_DIR) / "demo-key"


def password_file() -> Path:
    """Where the administrator's first password is kept, for its owner alone."""
    return Path(settings.VAR_DIR) / "admin-password"


def demo() -> Result | None:
    """Set up the demonstration once: the sandbox, a balance, a key in VAR_DIR/demo-key. None where it had been done.

    With OPENAI_API_KEY in the environment a channel to OpenAI is added, whenever there is none.
    """
    result = None
    if not _has_key():
        password = new_password()
        result = bootstrap(
            upstream=sandbox_upstream(),
            balance=BALANCE,
            admin_password=password,
            organization_name=ORGANIZATION,
        )
        if result.admin_password:
            write_private(password_file(), password + "\n")
        write_private(key_file(), f"{result.api_key}\n")
    openai_key = outside("OPENAI_API_KEY")
    if openai_key and not Channel.objects.filter(provider=Provider.OPENAI).exists():
        upstream = Upstream(provider=Provider.OPENAI, key=openai_key, models=OPENAI_MODELS)
        bootstrap(upstream=upstream, with_key=False, organization_name=ORGANIZATION)
    return result


def _has_key() -> bool:
    """Whether the key that VAR_DIR/demo-key holds is one of this database's."""
    if not key_file().exists():
        return False
    return key_by_digest(key_digest(settings.KEY_HASH_SECRET, key_file().read_text().strip())) is not None
