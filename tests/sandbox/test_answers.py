"""The sandbox upstream: what the official SDK makes of it, and that the same question has the same answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from costrouter.sandbox.__main__ import listen
from costrouter.sandbox.answers import MAX_DEPTH, MAX_EXAMPLE, BadRequest, Example, answer, tokenize

ROOT = Path(__file__).resolve().parents[2]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 2},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}
HELLO = [{"role": "user", "content": "Hello there, world!"}]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """The sandbox as `manage.py up` starts it: on a socket that was listening before it ran."""
    with listen(0) as listener:
        command = [sys.executable, "-m", "costrouter.sandbox", "--fd", str(listener.fileno())]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=(listener.fileno(),))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in (0, -signal.SIGTERM)


@pytest.fixture(scope="module")
def client(base_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=base_url, api_key="any", max_retries=0) as found:
        yield found


def ask(client: OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(**{"model": "sandbox-fast", "messages": HELLO, **options})


def test_tokens_are_words_numbers_and_characters() -> None:
    assert tokenize("Hello there, 42 worlds!\n") == ["Hello", " there", ",", " 42", " worlds", "!", "\n"]
    text = "Ünïcode 東京 snake_case  two\n\nlines 3.14 \t"
    assert "".join(tokenize(text)) == text


def test_answers_and_counts(client: OpenAI) -> None:
    found = ask(client)
    text = found.choices[0].message.content
    assert text.startswith("You said: Hello there, world! This is the CostRouter sandbox")
    assert found.choices[0].finish_reason == "stop"
    assert found.model == "sandbox-fast"
    # "Hello", " there", ",", " world", "!" and four for the message.
    assert found.usage.prompt_tokens == 9
    assert found.usage.completion_tokens == len(tokenize(text))
    assert found.usage.total_tokens == 9 + len(tokenize(text))
    assert ask(client).choices[0].message.content == text


def test_stream_says_the_same(client: OpenAI) -> None:
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_shows_usage_only_when_asked(client: OpenAI) -> None:
    chunks = list(ask(client, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("stream", [False, True])
def test_cap(client: OpenAI, field: str, stream: bool) -> None:
    found = ask(client, stream=stream, **{field: 3})
    if stream:
        chunks = [chunk.choices[0] for chunk in found]
        text, reason = "".join(choice.delta.content or "" for choice in chunks), chunks[-1].finish_reason
    else:
        text, reason = found.choices[0].message.content, found.choices[0].finish_reason
        assert found.usage.completion_tokens == 3
    assert (text, reason) == ("You said:", "length")


def test_stop_sequence_ends_the_answer_before_it(client: OpenAI) -> None:
    found = ask(client, stop=["This is", ", world"])
    assert found.choices[0].message.content == "You said: Hello there"
    assert found.choices[0].finish_reason == "stop"


def test_several_choices(client: OpenAI) -> None:
    found = ask(client, n=2, max_tokens=5)
    assert [choice.index for choice in found.choices] == [0, 1]
    assert [choice.message.content for choice in found.choices] == ["You said: Hello there", "Answer 2. You said"]
    assert found.usage.completion_tokens == 10
    streamed = ["", ""]
    for chunk in ask(client, n=2, max_tokens=5, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == ["You said: Hello there", "Answer 2. You said"]


FORCED = {"type": "function", "function": {"name": "get_weather"}}


@pytest.mark.parametrize("choice", ["required", FORCED])
def test_forced_tool_is_called_with_fitting_arguments(client: OpenAI, choice: Any) -> None:
    found = ask(client, tools=[WEATHER], tool_choice=choice)
    call = found.choices[0].message.tool_calls[0]
    assert found.choices[0].finish_reason == "tool_calls"
    assert found.choices[0].message.content is None
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Hello there, world!", "days": 2, "unit": "celsius"}
    arguments, names = "", []
    for chunk in ask(client, tools=[WEATHER], tool_choice=choice, stream=True):
        for delta in chunk.choices[0].delta.tool_calls or []:
            arguments += delta.function.arguments or ""
            names += [delta.function.name] if delta.function.name else []
    assert (names, arguments) == (["get_weather"], call.function.arguments)


def test_tool_is_called_when_named_and_its_result_repeated(client: OpenAI) -> None:
    assert ask(client, tools=[WEATHER]).choices[0].message.tool_calls is None
    question = {"role": "user", "content": "Please use get_weather."}
    called = ask(client, tools=[WEATHER], messages=[question])
    call = called.choices[0].message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"}
    history = [question, called.choices[0].message.to_dict(), result]
    final = ask(client, tools=[WEATHER], messages=history).choices[0]
    assert final.message.content.startswith("The tool answered: 18 degrees. ")
    assert final.finish_reason == "stop"


def test_structured_output(client: OpenAI) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "tags": {"type": "array", "items": {}}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "page", "schema": schema}}
    text = ask(client, response_format=wanted).choices[0].message.content
    assert set(json.loads(text)) == {"title", "tags"}
    text = ask(client, response_format={"type": "json_object"}).choices[0].message.content
    assert json.loads(text) == {"answer": "Hello there, world!"}


def example(schema: Any, said: str = "", **beside: Any) -> Any:
    return Example({**schema, **beside}, said, param="tools").value()


def nodes(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(nodes, inner))


def test_example_follows_references_and_ends_on_circles() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    value = example({"$ref": "#/$defs/node"}, **{"$defs": {"node": node}})
    assert value["next"]["next"] is not None
    assert example({"type": "object", "properties": {"child": {"$ref": "#"}}})["child"]["child"] is not None
    assert example({"anyOf": [{"type": "null"}, {"type": "string"}]}, "x") is None


def test_example_fits() -> None:
    assert example({"type": "integer", "minimum": 2.5}) == 3
    assert example({"type": "number", "minimum": 10**400}) == 10**400
    assert example({"type": "array", "items": {"type": "string"}, "minItems": 3}, " x ") == ["x"] * 3
    assert example({"type": ["boolean", "null"]}) is True


def nested(levels: int) -> dict[str, Any]:
    array: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        array = {"type": "array", "minItems": 1_000_000_000, "items": array}
    return array


FAMILY = {"type": "object", "properties": {f"child{number}": {"$ref": "#"} for number in range(9)}}
LONG = {"properties": {f"p{number}": {"$ref": "#/$defs/long"} for number in range(900)}}


@pytest.mark.parametrize("schema", [nested(1), nested(3), nested(15), FAMILY])
def test_example_stays_small(schema: dict[str, Any]) -> None:
    assert nodes(example(schema)) <= MAX_EXAMPLE + MAX_DEPTH * 9


@pytest.mark.parametrize("long", [{"const": "x" * 50_000}, {"default": ["x"] * 9_000}, {"enum": ["x" * 50_000]}])
def test_example_repeats_no_long_constant(long: dict[str, Any]) -> None:
    assert len(json.dumps(example(LONG, **{"$defs": {"long": long}}))) < 200_000


def test_other_parts_are_counted() -> None:
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    found = answer({"model": "sandbox-fast", "messages": [{"role": "user", "content": parts}]})
    assert found.prompt_tokens == 4 + 1 + 85


def test_models(client: OpenAI) -> None:
    names = ["sandbox-small", "sandbox-large", "sandbox-fast"]
    assert [model.id for model in client.models.list()] == names
    assert client.models.retrieve("sandbox-large").object == "model"


def test_unknown_model(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, model="gpt-4o")
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (b'{"model": "sandbox-fast"}', "messages"),
        (b'{"model": "sandbox-fast", "messages": ["hi"]}', "messages"),
        (b'{"model": "sandbox-fast", "messages": [{"role": "user"}], "n": 0}', "n"),
        (b'{"model": "sandbox-fast", "messages": [{"role": "user"}], "max_tokens": -1}', "max_tokens"),
        (b'{"model": "sandbox-fast", "messages": [{"role": "user"}], "tool_choice": "required"}', "tool_choice"),
        (b'{"model": "sandbox-fast", "messages": [{"role": "user"}], "tools": 5}', "tools"),
        (b'{"model": "sandbox-fast", "messages": [{"role": "user"}], "tools": [5]}', "tools"),
        (b'{"model": "sandbox-fast", "messages": [{"role": "user"}], "response_format": 5}', "response_format"),
        (
            b'{"model": "sandbox-fast", "messages": [{"role": "user"}], "response_format": {"type": "json_schema"}}',
            "response_format",
        ),
        (b'{"model": "sandbox-fast", "messages": [{"role": "user", "content": "\\ud800"}]}', None),
        (b'{"model": "sandbox-fast", "messages": [{"role": "user"}], "top_p": 1e999}', None),
        (b'{"model": "sandbox-fast", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    ],
)
def test_bad_request(base_url: str, body: bytes, param: str | None) -> None:
    found = httpx.post(f"{base_url}/chat/completions", content=body)
    assert found.status_code == 400
    assert found.json()["error"]["type"] == "invalid_request_error"
    assert found.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": "a"},
        {"type": "number", "minimum": True},
        {"type": "array", "minItems": "x"},
        {"type": "array", "items": 5},
        {"type": 5},
        {"type": [{}]},
        {"properties": [1]},
        {"properties": {"a": 5}},
        {"enum": 5},
        {"anyOf": {"a": 1}},
        {"$ref": 5},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/missing"},
        [1],
        5,
        "text",
    ],
)
@pytest.mark.parametrize("param", ["tools", "response_format"])
def test_odd_schema_is_a_bad_request(base_url: str, schema: Any, param: str) -> None:
    body = {"model": "sandbox-fast", "messages": HELLO}
    if param == "tools":
        body |= {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}
        body |= {"tool_choice": "required"}
    else:
        body |= {"response_format": {"type": "json_schema", "json_schema": {"name": "f", "schema": schema}}}
    found = httpx.post(f"{base_url}/chat/completions", json=body)
    assert (found.status_code, found.headers["content-type"]) == (400, "application/json")
    error = found.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert "schema" in error["message"]


def test_unknown_path(base_url: str) -> None:
    assert httpx.get(f"{base_url}/nothing").status_code == 404
    assert httpx.get(f"{base_url}/chat/completions").status_code == 404


def test_forced_tool_must_be_there() -> None:
    body = {"model": "sandbox-fast", "messages": HELLO, "tool_choice": FORCED, "tools": []}
    with pytest.raises(BadRequest, match="get_weather"):
        answer(body)
