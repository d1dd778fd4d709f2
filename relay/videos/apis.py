"""THE table of the ways in which upstreams make videos."""

from __future__ import annotations

from relay.protocols.videos import minimax as videos_minimax
from relay.protocols.videos import openai as videos
from relay.protocols.videos.openai import VideoApi
from relay.upstream.providers import PROVIDERS

APIS: tuple[VideoApi, ...] = (videos.API, videos_minimax.API)


def api_of(provider: str) -> VideoApi | None:
    """How a provider makes videos; None where it does not."""
    paths = PROVIDERS[provider].paths
    return next((api for api in APIS if api.name in paths), None)
