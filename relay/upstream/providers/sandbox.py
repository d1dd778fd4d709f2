"""The built-in sandbox upstream (`manage.py sandbox`): OpenAI's formats with deterministic answers."""

from __future__ import annotations

from relay.upstream.providers.base import Provider, bearer
from relay.upstream.providers.openai_compatible import PATHS, fault, openai_url

PROVIDER = Provider("sandbox", PATHS, bearer, "max_tokens", fault, url=openai_url)
