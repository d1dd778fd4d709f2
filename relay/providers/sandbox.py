"""The built-in sandbox upstream (`manage.py sandbox`): OpenAI's chat completions with deterministic answers."""

from __future__ import annotations

from relay.providers.base import Provider
from relay.providers.openai_compatible import PATHS, bearer, fault

PROVIDER = Provider("sandbox", PATHS, bearer, "max_tokens", fault)
