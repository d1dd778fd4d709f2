"""What an upstream's dialect cannot express is refused in the client's, by the client's own name of the field."""

from __future__ import annotations

import anthropic
import openai
import pytest
from google.genai import errors, types

from tests.sdk.clients import CLIENTS, WEATHER

pytestmark = pytest.mark.any_database

RESPONSES, ANTHROPIC, GEMINI = "OpenAI Responses", "Anthropic", "Gemini"
TOOL = {"name": "get_weather", "input_schema": WEATHER}
FUNCTION = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
LOGPROBS = "message.output_text.logprobs"
SAFE = [types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_LOW_AND_ABOVE")]
# (client, upstream, options, the field, where it cannot be said)
ROWS = [
    ("chat", "responses", {"stop": "five"}, "stop", RESPONSES),
    ("chat", "responses", {"n": 2}, "n", RESPONSES),
    ("chat", "responses", {"presence_penalty": 0.5}, "presence_penalty", RESPONSES),
    ("chat", "responses", {"frequency_penalty": 0.5}, "frequency_penalty", RESPONSES),
    ("chat", "responses", {"logit_bias": {"11": 5}}, "logit_bias", RESPONSES),
    ("chat", "anthropic", {"n": 2}, "n", ANTHROPIC),
    ("chat", "anthropic", {"logprobs": True}, "logprobs", ANTHROPIC),
    ("chat", "anthropic", {"logit_bias": {"11": 5}}, "logit_bias", ANTHROPIC),
    ("chat", "anthropic", {"temperature": 1.5}, "a temperature above 1", ANTHROPIC),
    ("chat", "anthropic", {"response_format": {"type": "json_object"}}, "JSON output without a schema", ANTHROPIC),
    ("chat", "gemini", {"logit_bias": {"11": 5}}, "logit_bias", GEMINI),
    ("chat", "gemini", {"tools": [FUNCTION], "parallel_tool_calls": False}, "parallel_tool_calls", GEMINI),
    ("responses", "anthropic", {"include": [LOGPROBS], "top_logprobs": 2}, "top_logprobs", ANTHROPIC),
    ("anthropic", "responses", {"stop_sequences": ["five"]}, "stop_sequences", RESPONSES),
    (
        *("anthropic", "gemini"),
        {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        *("tool_choice.disable_parallel_tool_use", GEMINI),
    ),
    ("gemini", "responses", {"stop_sequences": ["five"]}, "generationConfig.stopSequences", RESPONSES),
    ("gemini", "responses", {"candidate_count": 2}, "generationConfig.candidateCount", RESPONSES),
    ("gemini", "responses", {"top_k": 4}, "generationConfig.topK", RESPONSES),
    ("gemini", "anthropic", {"candidate_count": 2}, "generationConfig.candidateCount", ANTHROPIC),
    ("gemini", "anthropic", {"presence_penalty": 0.5}, "generationConfig.presencePenalty", ANTHROPIC),
    ("gemini", "anthropic", {"response_logprobs": True}, "generationConfig.responseLogprobs", ANTHROPIC),
    ("gemini", "anthropic", {"temperature": 1.5}, "generationConfig.temperature above 1", ANTHROPIC),
    ("gemini", "chat", {"safety_settings": SAFE}, "safetySettings[0]", "not Gemini"),
]
REFUSALS = (openai.BadRequestError, anthropic.BadRequestError, errors.ClientError)


def test_fields(world, relay, everywhere, subtests):
    for client, upstream, options, field, where in ROWS:
        with subtests.test(f"{field} from {client} to {upstream}"):
            sdk = CLIENTS[client](relay.url, world.secret, f"to-{upstream}", stream=False)
            with pytest.raises(REFUSALS) as refused:
                sdk.create(**options)
            sdk.close()
            error = refused.value
            message = f"{field} cannot be expressed for this model's upstream ({where})."
            if isinstance(error, openai.BadRequestError):
                said = {"message": message, "type": "invalid_request_error", "param": field}
                assert error.body == {**said, "code": "unsupported_field"}
            elif isinstance(error, anthropic.BadRequestError):
                assert error.body["error"]["message"] == message
                assert error.body["error"]["type"] == "invalid_request_error"
            else:
                assert (error.code, error.status, error.message) == (400, "INVALID_ARGUMENT", message)
    assert [double.seen for double in everywhere.values()] == [[], [], [], []]
    assert {record.status for record in world.records()} == {"refused"}
    assert world.prove()["charged_nanos"] == 0
