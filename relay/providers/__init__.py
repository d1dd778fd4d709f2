"""One file an upstream kind: its URL, its authentication header, its native dialects, whose fault its errors are.

Pure: no Django, no HTTP client. Adding a provider is one file here and one row in `PROVIDERS`
(and its name in `channels_app.models.Provider`).
"""

from __future__ import annotations

from relay.providers import openai, openai_compatible, sandbox
from relay.providers.base import Fault, Provider

PROVIDERS: dict[str, Provider] = {
    "openai": openai.PROVIDER,
    "openai_compatible": openai_compatible.PROVIDER,
    "sandbox": sandbox.PROVIDER,
}

__all__ = ["PROVIDERS", "Fault", "Provider"]
