"""An upstream that answers each endpoint of the docs as their response example says, and a world that reaches it."""

from __future__ import annotations

import base64
import copy
import json
import re
import struct
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from costrouter.reference.entries import ENTRIES, Entry
from costrouter.reference.shapes import Binary
from tests.doubles.realtime import Realtime
from tests.doubles.recordings import recording
from tests.doubles.studio import Studio
from tests.doubles.upstream import Reply, Seen, json_reply, sse_reply

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
FILES = {"photo.png": PNG, "speech.mp3": recording("mp3", 1)}
# Of the units that an endpoint may be charged by, one that has a price here: unit → USD.
_PRICES = ({"input": "1", "output": "2"}, {"input": "1"}, {"searches": "0.002"}, {"calls": "0.001"})
_PIECES = ({"images": "0.02"}, {"characters": "0.015"}, {"seconds": "0.0001"})
# A video is charged by its seconds, a session by whatever it hears and says.
_OWN = {
    "MiniMax-Hailuo-2.3": {"seconds": "0.1"},
    "gpt-realtime": {"input": "4", "audio_in": "32", "output": "16", "audio_out": "64"},
}


def upstream_answer(entry: Entry) -> Any:
    """The example as an upstream would say it: without what CostRouter adds."""
    said = copy.deepcopy(entry.doc.response)
    if isinstance(said, dict) and isinstance(said.get("usage"), dict):
        said["usage"].pop("cost", None)
    return said


class Library(Studio):
    """Videos are the studio's; anything else is answered by the example of the endpoint at that path."""

    def _choose(self, seen: Seen) -> Reply:
        path = urlsplit(seen.path).path
        if path.startswith("/v1/videos"):
            return super()._choose(seen)
        [entry] = [one for one in ENTRIES.values() if _matches(one, path, seen.method)]
        if entry.doc.stream and ("alt=sse" in seen.path or _streamed(seen)):
            return sse_reply([entry.doc.stream.encode()])
        if isinstance(entry.doc.response, Binary):
            return Reply([FILES["speech.mp3"]], content_type=entry.doc.response.content_type)
        said = upstream_answer(entry)
        if entry.name == "embeddings" and seen.json.get("encoding_format") == "base64":
            said["data"][0]["embedding"] = base64.b64encode(struct.pack("<3f", 1, 2, 3)).decode()
        if entry.name == "gemini.batch_embed":
            said["embeddings"] = said["embeddings"][: len(seen.json["requests"])]
        return json_reply(said)


def _matches(entry: Entry, path: str, method: str) -> bool:
    pattern = re.escape(entry.endpoint.path).replace(r"\{model\}", "[^/:]+")
    return entry.endpoint.method == method and re.fullmatch(pattern, path) is not None


def _streamed(seen: Seen) -> bool:
    kind = seen.headers.get("content-type", "")
    return kind.startswith("application/json") and json.loads(seen.body).get("stream") is True


def prices_of(name: str) -> dict[str, str]:
    """What a model costs that is in an example: by the first unit that its endpoint is charged by."""
    if name in _OWN:
        return _OWN[name]
    units = {unit for entry in ENTRIES.values() if name in entry.doc.models for unit in entry.endpoint.units}
    if {"input", "output"} <= units and "image_out" not in units:
        return _PRICES[0]
    return next(prices for prices in (*_PIECES, *_PRICES[2:], _PRICES[1]) if set(prices) <= units)


@pytest.fixture(name="library")
def library_fixture(world: Any, relay: Any) -> Iterator[Library]:
    """Every model of an example, priced, at channels that speak its own format."""
    double, voices = Library().start(), Realtime().start()
    names = dict.fromkeys(entry.doc.models[0] for entry in ENTRIES.values() if entry.doc.models)
    models = {name: world.new_model(name, context_window=100_000, **prices_of(name)) for name in names}
    formats = {
        "first": ("openai_compatible", double, []),
        "newest": ("openai_compatible", double, ["responses"]),
        "claude": ("openai_compatible", double, ["anthropic"]),
        "google": ("gemini", double, []),
        "voices": ("openai", voices, []),
    }
    for channel, (provider, server, dialects) in formats.items():
        served = {model: "" for name, model in models.items() if channel_of(name) == channel}
        url = server.url.removesuffix("/v1") if provider == "gemini" else server.url
        world.new_channel(url, name=channel, provider=provider, dialects=dialects, models=served)
    relay.settled_down()
    yield double
    double.stop()
    voices.stop()


def channel_of(model: str) -> str:
    """The channel that serves a model of an example."""
    known = {"gpt-realtime": "voices", "gpt-5": "newest", "claude": "claude", "gemini": "google"}
    return next((channel for start, channel in known.items() if model.startswith(start)), "first")


def a_video(client: Any, double: Library) -> str:
    """The id of a video that is completed."""
    made = client.post("/v1/videos", json=dict(ENTRIES["videos.create"].doc.request or {})).json()
    double.complete()
    assert client.get(f"/v1/videos/{made['id']}").json()["status"] == "completed"
    return str(made["id"])


def with_real_ids(text: str, client: Any, double: Library) -> str:
    """An example with an id that exists in place of its own: of a video, or of a request."""
    video, request = ENTRIES["videos.get"].doc.path["id"], ENTRIES["account.generation"].doc.query["id"]
    if video in text:
        text = text.replace(video, a_video(client, double))
    if request in text:
        body = dict(ENTRIES["chat.completions"].doc.request or {})
        text = text.replace(request, client.post("/v1/chat/completions", json=body).headers["x-request-id"])
    return text
