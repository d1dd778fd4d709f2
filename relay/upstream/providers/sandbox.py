"""The built-in sandbox upstream (`manage.py sandbox`): OpenAI's formats with deterministic answers."""

from __future__ import annotations

from relay.providers.base import Provider, bearer
from relay.providers.openai_compatible import PATHS, fault, openai_url

PROVIDER = Provider("sandbox", PATHS, bearer, "max_tokens", fault, url=openai_url)
