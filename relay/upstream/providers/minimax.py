"""MiniMax: Hailuo videos, and chat completions in OpenAI's format.

Source: MiniMax's API reference ("Video Generation", "File Management", "OpenAI API Compatible"). Its errors come with
status 200, and are read in `relay.protocols.videos.minimax`.
"""

from __future__ import annotations

from relay.upstream.providers.base import Call, Provider, bearer, join, root
from relay.upstream.providers.faults import faults

PATHS = {"chat": "/v1/chat/completions", "videos_minimax": "/v1/video_generation"}
# What a video's action begins with → where that goes.
_ACTIONS = {"query": "/v1/query/video_generation?task_id=", "file": "/v1/files/retrieve?file_id="}


def url(call: Call) -> str:
    """Where a request goes: `action` is "query/TASK" or "file/FILE" for a video that was asked for."""
    base = root(call.base_url, "v1")
    if call.dialect != "videos_minimax" or not call.action:
        return join(base, PATHS[call.dialect])
    action, _, number = call.action.partition("/")
    return join(base, _ACTIONS[action]) + number


PROVIDER = Provider("minimax", PATHS, bearer, "max_tokens", faults(), url=url)
