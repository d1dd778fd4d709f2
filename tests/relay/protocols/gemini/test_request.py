"""A Gemini request as the protocol files read it: what is bounded, counted, refused, and what travels on."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.protocols import DIALECTS
from relay.protocols.base import Feature, Media, Target
from relay.protocols.embeddings import gemini as gemini_embed
from relay.protocols.gemini import count as gemini_count
from relay.protocols.gemini import request as gemini
from relay.protocols.gemini.errors import error_body, read_error, stream_error
from relay.protocols.gemini.request import Options, parse, stream_content_type, upstream_body
from tests.cast.examples import examples

# How long an example takes depends on what else the machine does.
unhurried = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
HELLO = [{"role": "user", "parts": [{"text": "hello"}]}]
PATH = "gemini-2.5-flash:generateContent"
NOT_COUNTS = [0, -1, -(10**30), 10**30, 1.5, 1e300, True, False, "5", [5], {}]
FILES = [
    "https://generativelanguage.googleapis.com/v1beta/files/abc",
    "HTTPS://GenerativeLanguage.GoogleAPIs.com./v1beta/files/abc",
    "https://user@generativelanguage.googleapis.com:443/v1beta/files/abc",
    "https://generativelanguage%2egoogleapis.com/files/abc",
    "https://storage.googleapis.com/bucket/object",
    "https://storage.cloud.google.com/bucket/object",
    "gs://bucket/object",
    "files/abc",
]


def read(path=PATH, /, **fields):
    return parse(json.dumps({"contents": HELLO, **fields}).encode(), path)


def refusal(path=PATH, /, **fields):
    with pytest.raises(RelayError) as refused:
        read(path, **fields)
    return refused.value.code, refused.value.param


def sent(request, **target):
    return json.loads(upstream_body(request, Target("up", **target)))


@pytest.mark.parametrize(
    ("path", "model", "stream", "options"),
    [
        (PATH, "gemini-2.5-flash", False, Options("generateContent", sse=False)),
        ("g:streamGenerateContent?alt=sse", "g", True, Options("streamGenerateContent", sse=True)),
        ("g:streamGenerateContent?$alt=sse&a=b", "g", True, Options("streamGenerateContent", sse=True)),
        ("g:streamGenerateContent", "g", True, Options("streamGenerateContent", sse=False)),
        ("models/g:streamGenerateContent?alt=json", "g", True, Options("streamGenerateContent", sse=False)),
        ("meta/llama3:8b:generateContent", "meta/llama3:8b", False, Options("generateContent", sse=False)),
    ],
)
def test_the_path_names_model_and_action(path, model, stream, options):
    request = read(path)
    assert (request.model, request.stream, request.options) == (model, stream, options)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("g:predict", "not_found"),
        ("g:countTokens", "not_found"),
        ("generateContent", "missing_model"),
        (":generateContent", "missing_model"),
        ("tunedModels/x:generateContent", "model_not_found"),
        ("g:streamGenerateContent?alt=proto", "invalid_request"),
        ("g", "not_found"),
        ("", "not_found"),
    ],
)
def test_a_path_that_names_neither_is_refused(path, code):
    assert refusal(path)[0] == code


def test_a_client_without_alt_gets_an_array():
    assert stream_content_type(read("g:streamGenerateContent")) == b"application/json; charset=UTF-8"
    assert stream_content_type(read("g:streamGenerateContent?alt=sse")) == b"text/event-stream; charset=utf-8"


@pytest.mark.parametrize(("name", "most"), [("candidateCount", 128), ("maxOutputTokens", 10**9)])
def test_a_quantity_out_of_bounds_is_refused(name, most):
    for value in [*NOT_COUNTS, most + 1]:
        assert refusal(generationConfig={name: value}) == ("invalid_request", f"generationConfig.{name}")


def test_both_spellings_bound_cost():
    camel = read(generationConfig={"maxOutputTokens": 7, "candidateCount": 2})
    snake = read(generation_config={"max_output_tokens": 7.0, "candidate_count": 2})
    assert (camel.cap, camel.choices) == (snake.cap, snake.choices) == (7, 2)


def test_a_field_under_both_spellings_is_refused():
    both = {"maxOutputTokens": 7, "max_output_tokens": 9_000}
    assert refusal(generationConfig=both) == ("invalid_request", "generationConfig.maxOutputTokens")
    assert refusal(generationConfig={}, generation_config=both)[0] == "invalid_request"


def test_a_field_given_twice_travels_on_once():
    body = b'{"contents":[{}],"generationConfig":{"maxOutputTokens":9,"maxOutputTokens":5,"new":1}}'
    request = parse(body, PATH)
    assert request.cap == 5
    assert upstream_body(request, Target("up")) == (
        b'{"contents":[{}],"generationConfig":{"maxOutputTokens":5,"new":1}}'
    )


def test_only_the_cap_changes_on_the_way():
    request = read(
        generation_config={"max_output_tokens": 900, "temperature": 0.5}, unheard={"of": 1}, model="models/other"
    )
    assert sent(request) == {
        "contents": HELLO,
        "generationConfig": {"maxOutputTokens": 900, "temperature": 0.5},
        "unheard": {"of": 1},
    }
    assert sent(request, cap=50)["generationConfig"] == {"maxOutputTokens": 50, "temperature": 0.5}
    assert sent(read(), cap=50)["generationConfig"] == {"maxOutputTokens": 50}
    assert sent(read()) == {"contents": HELLO}


def test_nothing_is_kept_upstream():
    assert sent(read(store=True))["store"] is False


@pytest.mark.parametrize("name", ["cachedContent", "cached_content", "continuationToken", "continuation_token"])
def test_state_stored_upstream_is_refused(name):
    assert refusal(**{name: "x"})[0] == "stored_state"
    read(**{name: None})


@pytest.mark.parametrize("uri", FILES)
@pytest.mark.parametrize(("outer", "inner"), [("fileData", "fileUri"), ("file_data", "file_uri")])
def test_a_file_of_the_upstream_account_is_refused(uri, outer, inner):
    part = {outer: {inner: uri, "mimeType": "image/png"}}
    assert refusal(contents=[{"parts": [part]}]) == ("stored_state", "contents[0].parts[0].fileData.fileUri")
    result = {"functionResponse": {"name": "f", "response": {}, "parts": [part]}}
    assert refusal(contents=[{"parts": [result]}])[0] == "stored_state"
    assert refusal(systemInstruction={"parts": [part]})[0] == "stored_state"


@pytest.mark.parametrize(
    "uri", ["file:///etc/passwd", "", None, 5, "https://", "https://[", "https://a b", "http:\\\\x"]
)
def test_a_file_from_nowhere_is_refused(uri):
    assert refusal(contents=[{"parts": [{"fileData": {"fileUri": uri}}]}])[0] == "invalid_request"


def test_text_and_media_are_counted():
    request = read(
        systemInstruction={"parts": [{"text": "be kind"}]},
        contents=[
            {
                "role": "user",
                "parts": [
                    {"text": "é"},
                    {"inlineData": {"mimeType": "image/png", "data": "A" * 1_000}},
                    {"inline_data": {"mime_type": "audio/wav", "data": "A" * 8}},
                    {"fileData": {"fileUri": "https://youtu.be/x"}},
                    {"fileData": {"fileUri": "https://example.com/a.png", "mimeType": "image/png"}},
                ],
            },
            {
                "role": "model",
                "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "A" * 9}],
            },
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"ok": True}}}]},
        ],
        tools=[{"functionDeclarations": [{"name": "f"}]}],
        generationConfig={"responseJsonSchema": {"type": "object"}},
    )
    assert request.media == [
        Media("image", 1_000),
        Media("audio", 8),
        Media("file"),
        Media("image"),
    ]
    assert request.texts == [
        *("é", "f", '{"a":1}', "f", '{"ok":true}', "be kind"),
        *('[{"functionDeclarations": [{"name": "f"}]}]', '{"type": "object"}'),
    ]
    assert request.text_bytes == sum(len(text.encode()) for text in request.texts) + 9
    assert (request.messages, request.has_tools) == (3, True)


@pytest.mark.parametrize(
    ("tool", "feature"),
    [
        ({"functionDeclarations": []}, []),
        ({"googleSearch": {}}, [Feature("tools[0].googleSearch", unit="searches")]),
        ({"google_search_retrieval": {}}, [Feature("tools[0].googleSearchRetrieval", unit="searches")]),
        ({"codeExecution": {}}, [Feature("tools[0].codeExecution")]),
        ({"url_context": {}}, [Feature("tools[0].urlContext")]),
        ({"fileSearch": {"fileSearchStoreNames": ["a"]}}, [Feature("tools[0].fileSearch")]),
        ({"googleMaps": {}, "computerUse": {}}, [Feature("tools[0].googleMaps"), Feature("tools[0].computerUse")]),
        ({"googleMaps": None, "unheard": {}}, [Feature("tools[0].unheard")]),
    ],
)
def test_what_tools_cost(tool, feature):
    request = read(tools=[tool])
    assert request.features == feature
    assert request.pieces == ({"searches": 1} if feature and feature[0].unit else {})


@pytest.mark.parametrize(
    ("fields", "features"),
    [
        ({"serviceTier": "flex"}, [Feature("serviceTier", tier="flex")]),
        ({"service_tier": "SERVICE_TIER_PRIORITY"}, [Feature("serviceTier", tier="priority")]),
        ({"serviceTier": "standard"}, []),
        (
            {"generationConfig": {"responseModalities": ["TEXT", "image"]}},
            [Feature("generationConfig.responseModalities", unit="image_out")],
        ),
        (
            {"generation_config": {"response_modalities": ["AUDIO", "VIDEO"]}},
            [
                Feature("generationConfig.responseModalities", unit="audio_out"),
                Feature("generationConfig.responseModalities"),
            ],
        ),
        (
            {"generationConfig": {"responseFormat": [{"text": {}}, {"image": {}}]}},
            [Feature("generationConfig.responseFormat", unit="image_out")],
        ),
    ],
)
def test_what_else_costs(fields, features):
    assert read(**fields).features == features


def test_a_choice_of_another_model_has_no_price():
    assert refusal(generationConfig={"routing_config": {}}) == ("unpriced_feature", "routingConfig")
    assert refusal(modelArmorConfig={"a": "b"}) == ("unpriced_feature", "modelArmorConfig")


@pytest.mark.parametrize(
    "fields",
    [
        *({"contents": value} for value in (None, [], {}, "hi", [1], [[]])),
        *({"generationConfig": value} for value in ([], 5, "x")),
        *({"tools": value} for value in ({}, "x", [1])),
        *({"systemInstruction": value} for value in ("x", [], 5)),
        *({"serviceTier": value} for value in (2, [], {})),
        *({"generationConfig": {"responseModalities": value}} for value in ([2], "IMAGE", {})),
        {"generationConfig": {"responseFormat": [5]}},
    ],
)
def test_wrong_types_are_refused(fields):
    assert refusal(**fields)[0] == "invalid_request"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"contents":[{"parts":' + b"[" * 5_000 + b"]" * 5_000 + b"}]}",
        b'{"a":1e999,"contents":[{}',
    ],
)
def test_broken_bodies_are_refused(body):
    for name, path in (("gemini", PATH), ("gemini_count", "g:countTokens"), ("gemini_embed", "g:embedContent")):
        with pytest.raises(RelayError) as refused:
            DIALECTS[name].parse(body, path)
        assert refused.value.status == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("contents", "parts", "role", "text", "thought", "inlineData", "file_data", "fileUri", "mimeType"),
                    *("functionCall", "functionResponse", "args", "response", "name", "id", "thoughtSignature"),
                    *("tools", "functionDeclarations", "parameters", "toolConfig", "functionCallingConfig", "mode"),
                    *("generationConfig", "thinkingConfig", "thinkingBudget", "responseSchema", "responseMimeType"),
                    *("safetySettings", "systemInstruction", "requests", "content", "generateContentRequest", "type"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=30,
)


@unhurried
@given(JSON)
def test_any_json_is_read_or_refused(value):
    for fields in (value, {"contents": value}, {"contents": HELLO, "tools": value}, {"contents": [{"parts": value}]}):
        body = msgspec.json.encode(fields)
        for name, path in (("gemini", PATH), ("gemini_count", "g:countTokens"), ("gemini_embed", "g:embedContent")):
            dialect = DIALECTS[name]
            assert refused_with(dialect, body, path) in (None, 400)


def refused_with(dialect, body, path):
    """The status that a request is refused with, None where it is relayed."""
    try:
        request = dialect.parse(body, path)
        dialect.body(request, Target("up", cap=5))
        if dialect.conversation is not None:
            dialect.conversation.to_ir(request)
    except RelayError as error:
        return error.status
    return None


# ---- countTokens, embedContent --------------------------------------------------------------------------------------


def test_counting_is_free():
    request = gemini_count.parse(json.dumps({"contents": HELLO}).encode(), "g:countTokens")
    assert (request.output, request.text_bytes, request.messages, request.texts) == (False, 0, 0, ["hello"])
    assert gemini_count.body(request, Target("up")) == b'{"contents":[{"role": "user", "parts": [{"text": "hello"}]}]}'


def test_a_whole_request_is_counted_as_the_upstream_calls_its_model():
    inner = {"model": "models/g", "contents": HELLO, "tools": [{"googleSearch": {}}]}
    request = gemini_count.parse(json.dumps({"generateContentRequest": inner}).encode(), "g:countTokens")
    assert (request.features, request.pieces) == ([], {})
    assert json.loads(gemini_count.body(request, Target("up"))) == {
        "generateContentRequest": {"model": "models/up", "contents": HELLO, "tools": [{"googleSearch": {}}]}
    }


def test_a_file_of_the_account_cannot_be_counted_either():
    inner = {"contents": [{"parts": [{"fileData": {"fileUri": "files/x"}}]}]}
    for body in (inner, {"generate_content_request": inner}):
        with pytest.raises(RelayError) as refused:
            gemini_count.parse(json.dumps(body).encode(), "g:countTokens")
        assert refused.value.code == "stored_state"


def test_a_count_is_nothing_used():
    body = b'{"totalTokens":31,"promptTokensDetails":[]}'
    answer = gemini_count.read_answer(body, None)
    assert (answer.units, answer.texts, answer.render({}, "0")) == ({}, [], body)
    for broken in (b"", b"{}", b"[]", b'{"error":{"code":400},"totalTokens":1}'):
        assert gemini_count.read_answer(broken, None) is None
    assert gemini_count.count_answer(31) == b'{"totalTokens":31}'


def test_one_embedding():
    body = {"content": {"parts": [{"text": "hello"}]}, "taskType": "RETRIEVAL_QUERY", "title": "é"}
    request = gemini_embed.parse(json.dumps(body, ensure_ascii=False).encode(), "g:embedContent")
    assert (request.output, request.texts, request.text_bytes, request.messages) == (False, ["hello", '"é"'], 9, 1)
    assert json.loads(gemini_embed.body(request, Target("up"))) == {**body, "model": "models/up"}


def test_many_embeddings_name_the_model_as_the_upstream_calls_it():
    ask = {"model": "models/other", "content": {"parts": [{"text": "a"}]}, "outputDimensionality": 8}
    image = {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}}
    request = gemini_embed.parse(json.dumps({"requests": [ask, image]}).encode(), "g:batchEmbedContents")
    assert (request.texts, request.media, request.messages) == (["a"], [Media("image", 4)], 2)
    assert json.loads(gemini_embed.body(request, Target("up"))) == {
        "requests": [{**ask, "model": "models/up"}, {**image, "model": "models/up"}]
    }


@pytest.mark.parametrize("body", [{}, {"requests": []}, {"requests": [{}]}, {"requests": [5]}, {"requests": {}}])
def test_embeddings_of_nothing_are_refused(body):
    for path in ("g:batchEmbedContents", "g:embedContent"):
        with pytest.raises(RelayError) as refused:
            gemini_embed.parse(json.dumps(body).encode(), path)
        assert refused.value.code == "invalid_request"


def test_embeddings_that_say_what_they_used():
    body = b'{"embedding":{"values":[0.1]},"usageMetadata":{"promptTokenCount":5}}'
    answer = gemini_embed.read_answer(body, None)
    assert (answer.units, answer.texts, answer.render({}, "0")) == ({"input": 5}, [], body)
    assert gemini_embed.read_answer(b'{"embeddings":[{"values":[0.1]}]}', None).units is None
    for broken in (b"", b"{}", b'{"error":{}}', b'{"embedding":{},"error":{}}'):
        assert gemini_embed.read_answer(broken, None) is None


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_errors_in_googles_words():
    assert json.loads(error_body(403, "insufficient_balance", "Too little.")) == {
        "error": {
            "code": 403,
            "message": "Too little.",
            "status": "PERMISSION_DENIED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "INSUFFICIENT_BALANCE",
                    "domain": "costrouter",
                }
            ],
        }
    }
    assert error_body(429, "", "Slow.") == b'{"error":{"code":429,"message":"Slow.","status":"RESOURCE_EXHAUSTED"}}'
    assert json.loads(error_body(400, "", "\ud800"))["error"]["message"] == "\ud800"


def test_errors_in_a_stream():
    body = error_body(502, "upstream_error", "Cut.")
    assert stream_error(502, "upstream_error", "Cut.") == b"data: " + body + b"\r\n\r\n"
    assert stream_error(502, "upstream_error", "Cut.", sse=False) == b",\r\n" + body + b"]"
    assert stream_error(502, "upstream_error", "Cut.", sse=False, begun=False) == b"[" + body + b"]"


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'{"error":{"code":404,"message":"no","status":"NOT_FOUND"}}', ("no", "NOT_FOUND")),
        (b'[{"error":{"code":400,"message":"no"}}]', ("no", "INVALID_ARGUMENT")),
        (b'{"error":{"message":"no","code":[]}}', ("no", "UNKNOWN")),
        (b'{"error":"no"}', None),
        (b"<html>", None),
        (b"[]", None),
        (b"\xff", None),
    ],
)
def test_errors_are_read(body, read):
    assert read_error(body) == read


def test_the_action_is_remembered():
    assert gemini.parse(b'{"contents":[{}]}', "g:streamGenerateContent").options.action == "streamGenerateContent"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"GenerationConfig": {"maxOutputTokens": 9_999}}, "GenerationConfig"),
        ({"generationConfig": {"maxOutputTokens": 1, "MaxOutputTokens": 9_999}}, "generationConfig.MaxOutputTokens"),
        ({"generationConfig": {"candidatecount": 8}}, "generationConfig.candidatecount"),
        ({"TOOLS": [{"googleSearch": {}}]}, "TOOLS"),
        ({"tools": [{"GoogleSearch": {}}]}, "tools[0].GoogleSearch"),
    ],
)
def test_a_name_that_some_server_would_read_as_another_is_refused(fields, param):
    assert refusal(**fields) == ("invalid_request", param)
