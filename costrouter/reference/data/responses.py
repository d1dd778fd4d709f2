"""Responses, and their compaction."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from costrouter.reference.data import parameters
from costrouter.reference.shapes import Call, Doc, Param, need

_ID = "resp_0192f3a4b5c6d7e8f901a2b3c4d5e6f7"
_USAGE = {
    "input_tokens": 12,
    "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 15,
    "cost": 0.000045,
}
_USAGE_FIELDS = (
    Param("usage.input_tokens", "integer", _("Tokens read, cached ones included.")),
    Param("usage.output_tokens", "integer", _("Tokens written, reasoning included.")),
    Param("usage.total_tokens", "integer", _("Both together.")),
    parameters.COST,
)

RESPONSES = Doc(
    "responses",
    _("Create Response"),
    _("Creates a model response from text, images and tools; CostRouter keeps the conversation for you to continue."),
    "OpenAI",
    (
        parameters.MODEL,
        need(
            "input", "string | array<object>", _("A text, or items: messages, tool calls and their outputs, reasoning.")
        ),
        Param(
            "input[].role",
            "string",
            _("Of a message: who speaks."),
            values=("system", "developer", "user", "assistant"),
        ),
        Param(
            "input[].content",
            "string | array<object>",
            _("Text, or parts: input_text, input_image and input_file with their data."),
        ),
        Param("instructions", "string", _("A system message for this answer alone.")),
        Param("previous_response_id", "string", _("Continues an answer that your organization had from CostRouter.")),
        Param("store", "boolean", _("Keep this turn, so that it can be continued. True unless it is said.")),
        Param("max_output_tokens", "integer", _("Maximum number of output tokens, reasoning included.")),
        parameters.STREAM,
        Param(
            "tools", "array<object>", _("Functions and custom tools; web_search where the model has a price for it.")
        ),
        Param(
            "tools[].type",
            "string",
            _("function, custom, web_search, or another tool that you run yourself."),
            required=True,
        ),
        Param("tools[].name", "string", _("The function's name.")),
        Param("tools[].parameters", "object", _("Its arguments, as a JSON Schema.")),
        Param("tool_choice", "string | object", _("auto, none, required, or one tool.")),
        Param("parallel_tool_calls", "boolean", _("Whether several tools may be called at once.")),
        Param("max_tool_calls", "integer", _("How often built-in tools may be called, at most 1,000.")),
        Param("reasoning.effort", "string", _("How long a reasoning model thinks.")),
        Param(
            "reasoning.summary",
            "string",
            _("Whether its thoughts are summarised."),
            values=("auto", "concise", "detailed"),
        ),
        Param("text.format", "object", _("json_schema for an answer of a given shape.")),
        Param("text.verbosity", "string", _("How long the answer is."), values=("low", "medium", "high")),
        Param("include", "array<string>", _("More to tell, such as reasoning.encrypted_content.")),
        parameters.TEMPERATURE,
        parameters.TOP_P,
        Param("top_logprobs", "integer", _("How many likely tokens to tell for each place.")),
        Param(
            "truncation", "string", _("Whether a conversation that is too long is cut."), values=("auto", "disabled")
        ),
        Param("metadata", "object", _("Up to 16 texts of your own that come back with the answer.")),
        parameters.SERVICE_TIER,
        parameters.PROMPT_CACHE_KEY,
        parameters.SAFETY,
    ),
    (
        Param("id", "string", _("The answer's ID, for previous_response_id. CostRouter gives it.")),
        parameters.OBJECT,
        Param("created_at", "integer", _("When it was made, in seconds since 1970.")),
        Param("status", "string", _("How it ended."), values=("completed", "incomplete", "failed", "in_progress")),
        parameters.MODEL_FIELD,
        Param("output", "array<object>", _("Items: messages, tool calls, reasoning.")),
        Param("output[].type", "string", _("message, function_call, reasoning, and others.")),
        Param("output[].content", "array<object>", _("Of a message: its parts.")),
        Param("incomplete_details", "object | null", _("Why an answer is incomplete.")),
        Param("error", "object | null", _("Why an answer failed.")),
        Param("usage", "object", _("Token usage statistics.")),
        *_USAGE_FIELDS,
    ),
    {
        "id": _ID,
        "object": "response",
        "created_at": 1790000000,
        "status": "completed",
        "model": "gpt-5",
        "output": [
            {
                "id": "msg_67c9",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Hello!", "annotations": []}],
            }
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "usage": _USAGE,
    },
    Call("client.responses.create", after=("print(response.output_text)",)),
    Call("client.responses.create", after=("console.log(response.output_text);",)),
    models=("gpt-5", "gpt-5-mini", "gpt-4.1", "o4-mini"),
    request={"model": "gpt-5", "input": "Hello", "max_output_tokens": 1024},
    stream=(
        "event: response.created\n"
        'data: {"type":"response.created","sequence_number":0,"response":{"id":"'
        + _ID
        + '","status":"in_progress",…}}\n\n'
        "event: response.output_text.delta\n"
        'data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_67c9","output_index":0,'
        '"content_index":0,"delta":"Hello!","logprobs":[]}\n\n'
        "event: response.completed\n"
        'data: {"type":"response.completed","sequence_number":8,"response":{"id":"'
        + _ID
        + '","status":"completed",…}}\n\n'
    ),
    notes=(
        _(
            "Turns are kept by CostRouter, encrypted, for your organization alone; an operator sets for how long. Pass "
            "store: false to keep none. Nothing is stored at the provider."
        ),
        _("conversation, prompt templates, background answers and tools that run at the provider are refused."),
        parameters.ANSWER_HEADERS,
        parameters.CAPPED,
        parameters.CONVERTED,
    ),
)

COMPACT = Doc(
    "responses.compact",
    _("Compact Response"),
    _("Shortens a long conversation to its user messages and one sealed item that stands for the rest."),
    "OpenAI",
    (
        parameters.MODEL,
        need(
            "input", "string | array<object>", _("The conversation, as for Create Response. Or name a previous answer.")
        ),
        Param("instructions", "string", _("The system message of the conversation.")),
        Param("previous_response_id", "string", _("An answer that your organization had from CostRouter.")),
        parameters.PROMPT_CACHE_KEY,
    ),
    (
        parameters.ID,
        parameters.OBJECT,
        Param("created_at", "integer", _("When it was made, in seconds since 1970.")),
        Param("output", "array<object>", _("The shorter conversation: the input of your next request.")),
        Param("usage", "object", _("Token usage statistics of the compaction.")),
        *_USAGE_FIELDS,
    ),
    {
        "id": _ID,
        "object": "response.compaction",
        "created_at": 1790000000,
        "output": [{"id": "cmp_5d20", "type": "compaction", "encrypted_content": "gAAAAABo…"}],
        "usage": _USAGE,
    },
    Call("client.responses.compact", after=("print(response.output)",)),
    Call("client.responses.compact", after=("console.log(response.output);",)),
    models=("gpt-5", "gpt-5-mini"),
    request={"model": "gpt-5", "input": [{"role": "user", "content": "Hello"}]},
    notes=(
        _("Only channels that speak the Responses API serve it; it is not converted."),
        _("Answers of a compaction are not kept: send its output with your next request."),
        parameters.ANSWER_HEADERS,
    ),
)

DOCS = (RESPONSES, COMPACT)
