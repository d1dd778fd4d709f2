"""Anthropic's Messages."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from costrouter.reference.data import parameters
from costrouter.reference.shapes import Call, Doc, Param, need

_MODELS = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5")
_MESSAGES = (
    need("messages", "array<object>", _("The conversation so far, user and assistant by turns.")),
    need("messages[].role", "string", _("Who speaks."), ("user", "assistant")),
    need(
        "messages[].content",
        "string | array<object>",
        _("Text, or blocks: text, image, document, tool_use, tool_result, thinking."),
    ),
    Param("system", "string | array<object>", _("The system prompt.")),
    Param("tools", "array<object>", _("Tools that the model may use; web_search where the model has a price for it.")),
    Param("tools[].name", "string", _("The tool's name.")),
    Param("tools[].description", "string", _("When to use it.")),
    Param("tools[].input_schema", "object", _("Its input, as a JSON Schema.")),
    Param("tool_choice", "object", _("auto, any, tool or none, as a type.")),
    Param("thinking", "object", _("adaptive, enabled with budget_tokens, or disabled.")),
    Param(
        "output_config.effort",
        "string",
        _("How much effort goes into the answer."),
        values=("low", "medium", "high", "xhigh", "max"),
    ),
    Param("output_config.format", "object", _("A JSON Schema that the answer follows.")),
    Param("cache_control", "object", _("Marks the end of what may be cached, for five minutes or an hour.")),
)

MESSAGES = Doc(
    "messages",
    _("Create Message"),
    _("Creates a message in Anthropic's format with streaming, tools, thinking and prompt caching."),
    "Anthropic",
    (
        parameters.MODEL,
        need("max_tokens", "integer", _("Maximum number of output tokens. 0 only fills the prompt cache.")),
        *_MESSAGES,
        Param("stop_sequences", "array<string>", _("Texts at which the answer ends.")),
        parameters.STREAM,
        Param("temperature", "number", _("Sampling temperature, for models that still take it.")),
        Param("metadata.user_id", "string", _("An anonymous name of your end user, for the provider.")),
        Param("service_tier", "string", _("Whether reserved capacity may be used."), values=("auto", "standard_only")),
        Param(
            "speed", "string", _("fast costs more: the model must have a price for it."), values=("standard", "fast")
        ),
    ),
    (
        parameters.ID,
        Param("type", "string", _("Always message.")),
        Param("role", "string", _("Always assistant.")),
        parameters.MODEL_FIELD,
        Param("content", "array<object>", _("Blocks: text, tool_use, thinking.")),
        Param("content[].type", "string", _("The kind of block.")),
        Param("content[].text", "string", _("Of a text block: the text.")),
        Param(
            "stop_reason",
            "string",
            _("Why it ended."),
            values=(
                "end_turn",
                "max_tokens",
                "stop_sequence",
                "tool_use",
                "pause_turn",
                "refusal",
                "model_context_window_exceeded",
            ),
        ),
        Param("stop_sequence", "string | null", _("The text at which it ended.")),
        Param("usage", "object", _("Token usage statistics.")),
        Param("usage.input_tokens", "integer", _("Tokens read that no cache had.")),
        Param("usage.output_tokens", "integer", _("Tokens written.")),
        Param("usage.cache_read_input_tokens", "integer", _("Tokens that came from the cache.")),
        Param("usage.cache_creation_input_tokens", "integer", _("Tokens that were put into the cache.")),
    ),
    {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [{"type": "text", "text": "Hello!"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 8,
            "output_tokens": 5,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
        },
    },
    Call("client.messages.create", after=("print(response.content[0].text)",)),
    Call("client.messages.create", after=("console.log(response.content[0].text);",)),
    models=_MODELS,
    request={
        "model": _MODELS[0],
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Hello"}],
    },
    stream=(
        "event: message_start\n"
        'data: {"type":"message_start","message":{"id":"msg_01XFDUDYJgAACzvnptvVoYEL","type":"message",'
        '"role":"assistant","model":"claude-sonnet-5-5","content":[],"stop_reason":null,"stop_sequence":null,'
        '"usage":{"input_tokens":8,"output_tokens":1}}}\n\n'
        "event: content_block_start\n"
        'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello!"}}\n\n'
        "event: content_block_stop\n"
        'data: {"type":"content_block_stop","index":0}\n\n'
        "event: message_delta\n"
        'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        '"usage":{"output_tokens":5}}\n\n'
        "event: message_stop\n"
        'data: {"type":"message_stop"}\n\n'
    ),
    notes=(
        _("The cost is in the header x-costrouter-cost of a whole answer; of a stream, GET /v1/generation tells it."),
        _(
            "anthropic-version and anthropic-beta pass through to an Anthropic upstream. The request ID is in "
            "request-id too."
        ),
        parameters.CAPPED,
        parameters.CONVERTED,
        parameters.STORED,
    ),
    sdk="anthropic",
    beyond=frozenset({"temperature"}),
)

COUNT_TOKENS = Doc(
    "messages.count_tokens",
    _("Count Message Tokens"),
    _("Counts the tokens that a message would use, without making one. It is free."),
    "Anthropic",
    (parameters.MODEL, *_MESSAGES),
    (Param("input_tokens", "integer", _("Tokens of messages, system prompt and tools together.")),),
    {"input_tokens": 8},
    Call("client.messages.count_tokens", after=("print(response.input_tokens)",)),
    Call("client.messages.countTokens", after=("console.log(response.input_tokens);",)),
    models=_MODELS,
    request={"model": _MODELS[0], "messages": [{"role": "user", "content": "Hello"}]},
    notes=(_("The upstream counts where it can; elsewhere CostRouter does, with a tokenizer of its own."),),
    sdk="anthropic",
)

DOCS = (MESSAGES, COUNT_TOKENS)
