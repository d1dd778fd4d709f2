"""The docs tell the truth: their examples are accepted, their parameters known, their answers of the official shape."""

from __future__ import annotations

import json
from typing import Any

import anthropic.types
import openai.types
import pytest
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from google.genai import types as google
from openai.types import audio, responses
from openai.types.audio.speech_create_params import SpeechCreateParams
from openai.types.audio.transcription_create_params import TranscriptionCreateParamsNonStreaming
from openai.types.audio.translation_create_params import TranslationCreateParams
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.image_create_variation_params import ImageCreateVariationParams
from openai.types.image_edit_params import ImageEditParamsNonStreaming
from openai.types.image_generate_params import ImageGenerateParamsNonStreaming
from openai.types.moderation_create_params import ModerationCreateParams
from openai.types.realtime import SessionCreatedEvent
from openai.types.responses.response_compact_params import ResponseCompactParams
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from openai.types.video_create_params import VideoCreateParams
from openai.types.video_download_content_params import VideoDownloadContentParams
from openai.types.video_list_params import VideoListParams
from openai.types.video_remix_params import VideoRemixParams
from pydantic.alias_generators import to_camel
from websockets.sync.client import connect

from costrouter.reference.entries import ENTRIES
from costrouter.reference.shapes import Binary, File
from costrouter.reference.snippets.curl import headers
from relay.protocols import DIALECTS
from relay.protocols.sse import Splitter, data_of
from relay.protocols.videos import openai as videos
from tests.doubles.docs import FILES, library_fixture, with_real_ids  # noqa: F401

pytestmark = pytest.mark.any_database

# Endpoint → the types of the official SDK: of its parameters, and of its answer. None: it has none of its own.
TYPES: dict[str, tuple[Any, Any]] = {
    "chat.completions": (ChatParams, ChatCompletion),
    "completions": (CompletionCreateParamsNonStreaming, openai.types.Completion),
    "responses": (ResponseCreateParamsNonStreaming, responses.Response),
    "responses.compact": (ResponseCompactParams, responses.CompactedResponse),
    "messages": (MessageCreateParamsNonStreaming, anthropic.types.Message),
    "messages.count_tokens": (MessageCountTokensParams, anthropic.types.MessageTokensCount),
    "gemini.generate": (google.GenerateContentConfig, google.GenerateContentResponse),
    "gemini.stream": (google.GenerateContentConfig, google.GenerateContentResponse),
    "gemini.count_tokens": (google.GenerateContentConfig, google.CountTokensResponse),
    "gemini.embed": (google.EmbedContentConfig, None),
    "gemini.batch_embed": (google.EmbedContentConfig, google.EmbedContentResponse),
    "embeddings": (EmbeddingCreateParams, openai.types.CreateEmbeddingResponse),
    "rerank": (None, None),
    "moderations": (ModerationCreateParams, openai.types.ModerationCreateResponse),
    "images.generations": (ImageGenerateParamsNonStreaming, openai.types.ImagesResponse),
    "images.edits": (ImageEditParamsNonStreaming, openai.types.ImagesResponse),
    "images.variations": (ImageCreateVariationParams, openai.types.ImagesResponse),
    "audio.speech": (SpeechCreateParams, Binary),
    "audio.transcriptions": (TranscriptionCreateParamsNonStreaming, audio.Transcription),
    "audio.translations": (TranslationCreateParams, audio.Translation),
    "videos.create": (VideoCreateParams, openai.types.Video),
    "videos.list": (VideoListParams, None),
    "videos.get": (None, openai.types.Video),
    "videos.content": (VideoDownloadContentParams, Binary),
    "videos.delete": (None, openai.types.VideoDeleteResponse),
    "videos.remix": (VideoRemixParams, openai.types.Video),
    "models.list": (None, None),
    "models.get": (None, openai.types.Model),
    "gemini.models": (google.ListModelsConfig, None),
    "realtime": (None, SessionCreatedEvent),
    "account.generation": (None, None),
    "account.credits": (None, None),
    "account.key": (None, None),
}
# Anthropic's and Google's clients ask these of a list; OpenAI's of an SDK method's own arguments.
LIST_PARAMS = {"limit", "after_id", "before_id"}
# Of a request of Google's: beside the SDK's config, what its REST API has around it.
GOOGLE_BODY = {"contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "content", "requests"}


def test_every_endpoint_has_its_types():
    assert TYPES.keys() == ENTRIES.keys()


@pytest.mark.parametrize("name", ENTRIES)
def test_the_answer_is_what_the_official_client_reads(name):
    kind, example = TYPES[name][1], ENTRIES[name].doc.response
    if kind is Binary:
        assert isinstance(example, Binary)
    elif kind is not None:
        for one in example if isinstance(example, list) else [example]:
            kind.model_validate(one)


@pytest.mark.parametrize("name", [name for name, kinds in TYPES.items() if hasattr(kinds[1], "model_fields")])
def test_the_fields_of_an_answer_are_those_of_the_official_client(name):
    kind = TYPES[name][1]
    known = set(kind.model_fields) | {to_camel(field) for field in kind.model_fields}
    # Models have what OpenRouter's have too, and a session's event stands for all events.
    ours = {"name", "context_length", "max_output_tokens", "architecture", "pricing"} if name == "models.get" else set()
    ours |= {"response"} if name == "realtime" else set()
    told = {field.name.partition(".")[0].partition("[")[0] for field in ENTRIES[name].doc.fields}
    assert told <= known | ours


def known_parameters(name: str) -> set[str]:
    """The parameters that the official SDK knows, at the top of a request."""
    kind = TYPES[name][0]
    if kind is None:
        return LIST_PARAMS if name == "models.list" else set()
    if hasattr(kind, "model_fields"):
        return {to_camel(field) for field in kind.model_fields} | GOOGLE_BODY
    return {field for base in kind.__mro__ for field in getattr(base, "__annotations__", {})}


@pytest.mark.parametrize("name", ENTRIES)
def test_no_parameter_is_made_up(name):
    entry = ENTRIES[name]
    known = known_parameters(name) | entry.doc.beyond
    for param in entry.params("body", "query"):
        told = param.name.removeprefix("generationConfig.").removeprefix("requests[].")
        top = told.partition(".")[0].removesuffix("[]")
        assert top in known | {"alt", "id", "model"}, param.name


# Parameter → a value for it, where what its type suggests would not do.
VALUES: dict[str, Any] = {
    "previous_response_id": "resp_0192f3a4b5c6d7e8f901a2b3c4d5e6f7",
    "size": "1024x1024",
    "seconds": "4",
    "modalities": ["text"],
    "voice": "alloy",
    "file": [{"filename": "a.mp3", "content_type": "audio/mpeg", "size": 9, "seconds": 1}],
    "image": [{"filename": "a.png", "content_type": "image/png", "size": 9}],
    "mask": [{"filename": "a.png", "content_type": "image/png", "size": 9}],
    "input_reference": {"image_url": "https://example.com/a.png"},
    "tools": [{"type": "function", "name": "f", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "best_of": 1,
}
KINDS = {"string": "text", "integer": 1, "number": 0.5, "boolean": True, "object": {}, "array<string>": ["text"]}


def value_of(param: Any) -> Any:
    if param.values:
        return param.values[0]
    top = param.name.partition(".")[0]
    return VALUES[top] if top in VALUES else KINDS.get(param.type.partition(" | ")[0], [])


def parse(entry: Any, body: dict[str, Any]) -> None:
    """Read a body as the relay does. Raises RelayError."""
    data, protocol = json.dumps(body).encode(), entry.endpoint.protocol
    if protocol == "videos":
        if entry.name == "videos.remix":
            videos.parse_remix(data, model="reel-1", upstream_id="video_1")
        else:
            videos.parse(data)
        return
    path = entry.filled_path.removeprefix("/v1beta/models/") if entry.endpoint.path.startswith("/v1beta") else ""
    DIALECTS[protocol].parse(data, path)


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.doc.request is not None])
def test_no_parameter_is_one_that_is_refused(name):
    entry = ENTRIES[name]
    body = {key: VALUES[key] if isinstance(value, File) else value for key, value in entry.doc.request.items()}
    parse(entry, body)
    for param in entry.params("body"):
        if param.name in entry.doc.request or "[]." in param.name:
            continue
        inner: Any = value_of(param)
        for step in reversed(param.name.split(".")):
            inner = {step: inner}
        if name == "videos.remix" and param.name != "prompt":
            pytest.fail(f"{param.name} is refused in a remix")
        parse(entry, {**body, **inner})


def asked(client, entry, double):
    """The answer to the example of an endpoint."""
    doc = entry.doc
    path = with_real_ids(entry.filled_path, client, double)
    told = dict(header.split(": ", 1) for header in headers(entry) if "sk-xxxx" not in header)
    if doc.form:
        body = dict(doc.request)
        files = {
            name: (value.name, FILES[value.name], value.content_type)
            for name, value in body.items()
            if isinstance(value, File)
        }
        return client.post(path, data={name: value for name, value in body.items() if name not in files}, files=files)
    return client.request(entry.endpoint.method, path, json=doc.request, headers=told)


def shape(value: Any) -> Any:
    """What is where, whatever it is: lists by their first item."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


def is_part(part: Any, whole: Any) -> bool:
    """Whether everything of one shape is in another. An empty list says nothing of its items."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and is_part(part[name], whole[name]) for name in part)
    return not isinstance(part, list) or whole is None or (isinstance(whole, list) and is_part(part[0], whole[0]))


# What of an example is of one model or request, and need not be of another.
VARIES = {"pricing", "lines", "route", "units", "inputTokenLimit", "outputTokenLimit", "limit_reset"}


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without(inner) for name, inner in value.items() if name not in VARIES}
    return [without(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.usefixtures("library")
def test_every_example_is_accepted_and_answered_in_its_own_shape(world, library, client, subtests):
    for entry in ENTRIES.values():
        if entry.is_websocket:
            continue
        with subtests.test(entry.name):
            answer = asked(client, entry, library)
            assert answer.status_code == 200, answer.text
            if isinstance(entry.doc.response, Binary):
                assert answer.headers["content-type"] == entry.doc.response.content_type
            elif entry.name == "gemini.stream":
                events = [json.loads(data_of(event)) for event in Splitter().feed(answer.content)]
                assert is_part(without(shape(entry.doc.response[0])), shape(events[-1]))
            else:
                said = answer.json()
                expected = entry.doc.response
                # The example shows a list that has something in it.
                assert is_part(without(shape(expected)), shape(said)), said
    videos_made = [record for record in world.records() if record.endpoint.startswith("videos.")]
    assert {record.endpoint for record in videos_made} <= {"videos.create", "videos.remix"}


def test_the_example_of_the_websocket_opens_it(world, relay, library):
    entry = ENTRIES["realtime"]
    url = relay.url.replace("http", "ws") + entry.filled_path
    with connect(url, additional_headers={"authorization": f"Bearer {world.secret}"}) as socket:
        assert json.loads(socket.recv(10))["type"] == entry.doc.response["type"]
    key = f"openai-insecure-api-key.{world.secret}"
    with connect(url, subprotocols=["realtime", key]) as socket:
        assert socket.subprotocol == "realtime"
    relay.settled_down()


STREAMS = [name for name, entry in ENTRIES.items() if entry.doc.stream and "…" not in entry.doc.stream]


@pytest.mark.parametrize("name", STREAMS)
def test_a_streamed_example_is_one_that_an_official_client_could_read(name):
    splitter = Splitter()
    events = splitter.feed(ENTRIES[name].doc.stream.encode())
    assert splitter.rest() == b"" and events
    for event in events:
        data = data_of(event)
        assert data == b"[DONE]" or json.loads(data)


def test_costs_in_examples_are_where_the_relay_puts_them(world, library, client):
    for name in ("chat.completions", "responses", "embeddings", "rerank", "images.generations"):
        answer = asked(client, ENTRIES[name], library)
        assert str(answer.json()["usage"]["cost"]) and answer.headers["x-costrouter-cost"]
    for name in ("messages", "gemini.generate"):
        answer = asked(client, ENTRIES[name], library)
        assert "cost" not in json.dumps(answer.json()) and answer.headers["x-costrouter-cost"]
    assert "x-costrouter-cost" not in asked(client, ENTRIES["audio.speech"], library).headers
    world.prove()
