"""OpenAI itself. Its reasoning models refuse `max_tokens`, so a cap is injected as `max_completion_tokens`."""

from __future__ import annotations

from relay.providers.base import Provider
from relay.providers.openai_compatible import PATHS, bearer, fault

PROVIDER = Provider("openai", PATHS, bearer, "max_completion_tokens", fault)
