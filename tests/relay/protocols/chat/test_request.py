"""A chat request as the protocol file reads it: what is bounded, counted, refused, and what travels on untouched."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.exchange.quote import estimated_media_tokens
from relay.protocols.base import Feature, Media, Target
from relay.protocols.chat import request as openai_chat
from relay.protocols.chat.request import parse, upstream_body

HELLO = [{"role": "user", "content": "hello"}]


def read(**fields):
    return parse(json.dumps({"model": "m", "messages": HELLO, **fields}).encode())


def status_of(body):
    try:
        parse(body)
    except RelayError as error:
        return error.status
    return 200


def refusal(**fields):
    with pytest.raises(RelayError) as refused:
        read(**fields)
    return refused.value.code, refused.value.param


NOT_COUNTS = [0, -1, -(10**30), 10**30, 1.5, 1e300, True, False, "5", [5], {}]


@pytest.mark.parametrize("name", ["n", "max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("value", NOT_COUNTS)
def test_a_quantity_out_of_bounds_is_refused(name, value):
    assert refusal(**{name: value}) == ("invalid_request", name)


@pytest.mark.parametrize(("name", "most"), [("n", 128), ("max_tokens", 10**9), ("max_completion_tokens", 10**9)])
def test_a_quantity_within_bounds_is_taken(name, most):
    read(**{name: 1})
    read(**{name: most})
    read(**{name: float(most)})
    assert refusal(**{name: most + 1}) == ("invalid_request", name)


@pytest.mark.parametrize("text", [b"1e400", b"-1e400", b"9" * 400, b"-0", b"0.0"])
def test_a_number_beyond_every_type_is_a_400(text):
    for name in (b"n", b"max_tokens"):
        with pytest.raises(RelayError) as refused:
            parse(b'{"model":"m","messages":[{}],"' + name + b'":' + text + b"}")
        assert refused.value.status == 400


def test_null_is_as_good_as_absent():
    names = ("n", "max_tokens", "max_completion_tokens", "stream", "stream_options", "service_tier", "modalities")
    names += ("tools", "web_search_options", "store", "conversation", "previous_response_id", "plugins", "best_of")
    request = read(**dict.fromkeys(names))
    assert (request.choices, request.cap, request.stream, request.options) == (1, None, False, False)
    assert (request.features, request.has_tools) == ([], False)


def test_of_two_caps_the_larger_is_held_for():
    assert read(max_tokens=5, max_completion_tokens=7).cap == 7
    assert read(max_tokens=9, max_completion_tokens=None).cap == 9


def test_of_a_key_given_twice_the_last_counts_and_only_it_travels_on():
    request = parse(b'{"model":"a","max_tokens":1,"model":"m","messages":[{}],"max_tokens":9}')
    assert (request.model, request.cap) == ("m", 9)
    assert upstream_body(request, Target("m")).count(b"max_tokens") == 1


@pytest.mark.parametrize("body", [b'{"a":%s}', b'{"model":"m","messages":[{"content":%s}]}', b"%s"])
@pytest.mark.parametrize("depth", [700, 950, 990, 1_100, 100_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_of_any_depth_is_read_or_refused(body, depth, brackets):
    opening, closing = brackets
    assert status_of(body % (opening * depth + b"1" + closing * depth)) in (200, 400)


@pytest.mark.parametrize("messages", [None, [], {}, "hello", 5, [None], ["hello"], [[]]])
def test_messages_must_be_a_list_of_objects(messages):
    assert refusal(messages=messages) == ("invalid_request", "messages")


@pytest.mark.parametrize(
    ("name", "value"), [("model", 1), ("stream", "yes"), ("stream_options", []), ("service_tier", 1)]
)
def test_a_field_of_the_wrong_kind_is_named(name, value):
    assert refusal(**{name: value}) == ("invalid_request", name)


TEXT = [
    (HELLO, 5),
    ([{"role": "user", "content": "héllo €😀"}], len("héllo €😀".encode())),
    ([{"role": "user", "content": ""}, {"role": "user", "content": None}], 0),
    ([{"role": "user", "content": [{"type": "text", "text": "ab"}, {"type": "refusal", "refusal": "cd"}]}], 4),
    ([{"role": "user", "content": {"type": "text", "text": "abc"}}], 3),
    ([{"role": "user", "content": ["plain"]}], 5),
    ([{"role": "user", "name": "bob", "content": "a"}], 4),
    ([{"role": "assistant", "refusal": "no", "reasoning_content": "hmm"}], 5),
    (
        [
            {
                "role": "assistant",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            }
        ],
        13,
    ),
    ([{"role": "tool", "tool_call_id": "c1", "content": "sunny"}], 7),
    ([{"role": "user", "content": [{"type": "strange", "deep": [{"text": "abc"}]}]}], 10),
]


@pytest.mark.parametrize(("messages", "size"), TEXT)
def test_text_is_counted_in_bytes_wherever_it_stands(messages, size):
    request = read(messages=messages)
    assert (request.text_bytes, request.messages, request.media) == (size, len(messages), [])
    assert sum(len(text.encode()) for text in request.texts) == size


@pytest.mark.parametrize("name", ["tools", "functions", "response_format", "prediction"])
def test_what_the_upstream_reads_as_input_is_counted_as_it_was_sent(name):
    value = '[ {"type" : "function", "x":"é"} ]'
    request = parse(f'{{"model":"m","messages":[{{"content":"hello"}}],"{name}":{value}}}'.encode())
    assert request.text_bytes == 5 + len(value.encode())
    assert request.has_tools == (name in ("tools", "functions"))


MEDIA = [
    ({"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "high"}}, Media("image")),
    ({"type": "image_url", "image_url": {"url": "DATA:image/png;base64," + "A" * 999}}, Media("image")),
    ({"type": "image_url", "image_url": "http://example.com/a.png"}, Media("image")),
    ({"type": "input_audio", "input_audio": {"data": "A" * 8, "format": "wav"}}, Media("audio", 8)),
    ({"type": "audio_url", "audio_url": {"url": "https://example.com/a.wav"}}, Media("audio")),
    ({"type": "file", "file": {"file_data": "A" * 12, "filename": "a.pdf"}}, Media("file", 12)),
    ({"type": "file", "file": {"filename": "a.pdf"}}, Media("file")),
    ({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}, Media("file")),
]


@pytest.mark.parametrize(("part", "medium"), MEDIA)
def test_a_part_that_is_not_text_is_no_text(part, medium):
    request = read(messages=[{"role": "user", "content": [part]}])
    assert (request.media, request.text_bytes) == ([medium], 0)


def test_an_image_by_another_kind_of_url_is_refused():
    for url in ("file:///etc/passwd", "gs://bucket/a", "file-abc123"):
        part = {"type": "image_url", "image_url": {"url": url}}
        assert refusal(messages=[{"role": "user", "content": [part]}]) == ("invalid_request", "messages")


STORED = [
    {"messages": [{"content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
    {"messages": [{"content": [{"type": "image_url", "image_url": {"file_id": "file-1"}}]}]},
    {"messages": [{"content": [{"type": "image_file", "file_id": "file-1"}]}]},
    {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
    {"previous_response_id": "resp_1"},
    {"conversation": "conv_1"},
    {"container": "c"},
    {"cached_content": "c"},
    {"vector_store_ids": ["vs_1"]},
]


@pytest.mark.parametrize("fields", STORED)
def test_what_names_state_stored_upstream_is_refused(fields):
    assert refusal(**fields)[0] == "stored_state"


@pytest.mark.parametrize("name", openai_chat.UNBOUNDED)
def test_other_names_of_caps_and_choices_are_refused(name):
    assert refusal(**{name: 1}) == ("unsupported_field", name)


FEATURES = [
    ({}, []),
    ({"service_tier": "auto"}, []),
    ({"service_tier": "default"}, []),
    ({"service_tier": "flex"}, [Feature("service_tier", tier="flex")]),
    ({"web_search_options": {}}, [Feature("web_search_options", unit="searches")]),
    ({"enable_search": False}, []),
    ({"modalities": ["text"]}, []),
    (
        {"modalities": ["text", "audio", "image"]},
        [Feature("modalities", "audio_out"), Feature("modalities", "image_out")],
    ),
    ({"modalities": ["smell"]}, [Feature("modalities")]),
    ({"tools": [{"type": "function"}, {"type": "custom"}, {"type": "web_search"}]}, [Feature("tools[2].type")]),
    ({"tools": ["x"]}, [Feature("tools[0].type")]),
    ({"prompt_cache_options": {"mode": "explicit", "ttl": "30m"}}, []),
    ({"prompt_cache_options": {"ttl": "12h"}}, [Feature("prompt_cache_options.ttl")]),
    (
        {"messages": [{"content": [{"type": "text", "text": "a", "prompt_cache_breakpoint": {"ttl": "12h"}}]}]},
        [Feature("messages[0].content")],
    ),
]


@pytest.mark.parametrize(("fields", "features"), FEATURES)
def test_what_changes_the_charge_is_a_feature(fields, features):
    assert read(**fields).features == features


HOUR = {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("fields", "hour"),
    [
        ({}, False),
        ({"cache_control": {"type": "ephemeral"}}, False),
        ({"cache_control": HOUR}, True),
        ({"messages": [{"content": "a", "cache_control": HOUR}]}, True),
        ({"messages": [{"content": [{"type": "text", "text": "a", "cache_control": HOUR}]}]}, True),
        ({"messages": [{"content": [{"type": "text", "text": "a", "cache_control": {"ttl": "5m"}}]}]}, False),
        ({"tools": [{"type": "function", "function": {"name": "f"}, "cache_control": HOUR}]}, True),
        ({"tools": [{"type": "function", "function": {"name": "f", "cache_control": HOUR}}]}, True),
    ],
)
def test_a_cache_of_an_hour_is_held_for(fields, hour):
    assert read(**fields).hour_cache is hour


@pytest.mark.parametrize("name", ["N", "Max_Tokens", "MAX_COMPLETION_TOKENS", "max_toKens", "ſtream"])
def test_a_name_that_some_server_would_read_as_another_is_refused(name):
    assert refusal(max_tokens=1, **{name: 100_000}) == ("invalid_request", name)


@pytest.mark.parametrize("name", ["fallbacks", "mcp_servers", "preset", "connectors", "web_search", "speed"])
def test_work_that_no_price_covers_is_refused(name):
    assert refusal(**{name: ["x"]}) == ("unpriced_feature", name)


def body_of(text, *, stream=False, cap=None, cap_field="max_tokens", stores=False):
    fields = f'{{"model" : "m", "messages":[{{"content":"x"}}]{text}}}'.encode()
    return upstream_body(parse(fields), Target("up/stream", cap=cap, cap_field=cap_field, stores=stores))


ODD = [
    '"a":1e5',
    '"a":1.0',
    '"a":-0.0',
    '"a":12345678901234567890123456789',
    '"a":0.1000000000000000055511151231257827',
    '"a":[ 1 ,  2 ]',
    '"a":"\\u00e9\\/\\ud83d\\ude00é😀"',
    '"a":{"a":1,"a":2}',
    '"a":null',
    '"temperature":0.70,"seed":-5,"logit_bias":{"50256":-100},"user":"é"',
]


@pytest.mark.parametrize("text", ODD)
def test_fields_nobody_here_has_heard_of_travel_on_byte_for_byte(text):
    assert body_of("," + text).decode() == f'{{"model":"up/stream","messages":[{{"content":"x"}}],{text}}}'


def test_usage_is_always_asked_of_a_stream():
    asked = b'"stream_options":{"include_usage":true}'
    assert body_of(',"stream":true').endswith(b',"stream":true,' + asked + b"}")
    assert asked in body_of(',"stream":true,"stream_options":{"include_usage":false}')
    kept = json.loads(body_of(',"stream":true,"stream_options":{"continuous_usage_stats":true}'))
    assert kept["stream_options"] == {"continuous_usage_stats": True, "include_usage": True}
    assert b"stream_options" not in body_of(',"stream_options":{"include_usage":true}')


def test_store_is_forced_off_where_it_is_asked_for_or_would_be_assumed():
    assert body_of(',"store":true').endswith(b'"store":false}')
    assert body_of(',"store":1').endswith(b'"store":false}')
    assert b"store" not in body_of("")
    assert body_of("", stores=True).endswith(b'"store":false}')


def test_a_cap_is_written_into_the_field_that_the_channel_reads():
    assert body_of("", cap=7).endswith(b'"max_tokens":7}')
    assert body_of(',"max_completion_tokens":null', cap=7, cap_field="max_completion_tokens").endswith(
        b'"max_completion_tokens":7}'
    )


def test_media_are_estimated_by_their_size_and_at_most_the_models_allowance():
    allowances = {"image": 1_000, "audio": 100, "file": 100}
    media = [Media("image"), Media("audio", 6_400), Media("audio"), Media("file", 16), Media("file", 10**9)]
    assert estimated_media_tokens(media, allowances) == 765 + (6_400 * 3 // 4 // 1_600 + 1) + 100 + 4 + 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=12), JSON, max_size=6), JSON)
def test_any_json_is_taken_whole_or_refused_with_a_400(fields, content):
    body = json.dumps({**fields, "model": "m", "messages": [{"role": "user", "content": content}]}).encode()
    if status_of(body) != 200:
        assert status_of(body) == 400
        return
    request = parse(body)
    sent = msgspec.json.decode(upstream_body(request, Target("u")))
    assert sent == {**msgspec.json.decode(body), "model": "u"} | {
        name: sent[name] for name in ("stream_options", "store") if name in sent
    }


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_400(body):
    with pytest.raises(RelayError) as refused:
        parse(body)
    assert refused.value.status == 400


@pytest.mark.parametrize("tools", [5, "x", {"type": "web_search"}])
def test_tools_must_be_a_list(tools):
    assert refusal(tools=tools) == ("invalid_request", "tools")


@pytest.mark.parametrize("modalities", ["audio", {"a": 1}, [["audio"]], [1]])
def test_modalities_must_be_a_list_of_strings(modalities):
    assert refusal(modalities=modalities) == ("invalid_request", "modalities")


def test_a_role_of_ones_own_and_unheard_of_text_count_as_input():
    plain = read().text_bytes
    assert read(messages=[{"role": "x" * 100, "content": "hello"}]).text_bytes == plain + 100
    assert read(documents=["y" * 100]).text_bytes == plain + 104
    assert read(temperature=0.123456, user="z" * 100).text_bytes == plain


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": None, "uuid": "somebody-elses"},
        {"type": "video_url", "video_url": {"url": "file:///etc/passwd"}},
        {"type": "audio_url", "audio_url": {"url": "gs://bucket/x"}},
    ],
)
def test_media_are_named_by_nothing_but_their_data_or_an_address(part):
    code, param = refusal(messages=[{"role": "user", "content": [part]}])
    assert code in ("stored_state", "invalid_request")
    assert param == "messages"


def test_stored_state_inside_a_providers_extras_is_refused():
    assert refusal(extra_body={"google": {"cached_content": "cachedContents/1"}})[0] == "stored_state"
