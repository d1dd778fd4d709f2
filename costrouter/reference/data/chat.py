"""Chat completions, and the completions before them."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from costrouter.reference.data import parameters
from costrouter.reference.shapes import Call, Doc, Param, need

_COMPLETION = "chatcmpl-8f2c"
_CHUNK = (
    'data: {"id":"chatcmpl-8f2c","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o","choices":'
    '[{"index":0,"delta":%s,"finish_reason":%s}]}\n\n'
)

CHAT = Doc(
    "chat.completions",
    _("Create Chat Completion"),
    _("Creates a model response from conversation history with streaming, tools, and usage accounting."),
    "OpenAI",
    (
        parameters.MODEL,
        need("messages", "array<object>", _("The conversation so far, oldest message first.")),
        need(
            "messages[].role",
            "string",
            _("Who speaks."),
            ("system", "developer", "user", "assistant", "tool", "function"),
        ),
        Param(
            "messages[].content",
            "string | array<object>",
            _("Text, or parts: text, image_url, input_audio and file. Media is a data: or https: URL, or base64."),
        ),
        Param("messages[].tool_calls", "array<object>", _("In an assistant's message: the tools it called.")),
        Param("messages[].tool_call_id", "string", _("In a tool's message: the call that it answers.")),
        Param("max_tokens", "integer", _("Maximum number of output tokens.")),
        Param("max_completion_tokens", "integer", _("The same under its newer name, reasoning included.")),
        parameters.TEMPERATURE,
        parameters.TOP_P,
        parameters.STREAM,
        parameters.INCLUDE_USAGE,
        Param("n", "integer", _("How many answers to make, at most 128. Each is charged.")),
        Param("stop", "string | array<string>", _("Texts at which the answer ends.")),
        Param("tools", "array<object>", _("Functions that the model may call. Support depends on the model.")),
        Param(
            "tools[].type", "string", _("Other kinds have no price here."), required=True, values=("function", "custom")
        ),
        Param("tools[].function.name", "string", _("The function's name.")),
        Param("tools[].function.description", "string", _("When to call it.")),
        Param("tools[].function.parameters", "object", _("Its arguments, as a JSON Schema.")),
        Param("tool_choice", "string | object", _("auto, none, required, or one tool.")),
        Param("parallel_tool_calls", "boolean", _("Whether several tools may be called at once.")),
        Param("response_format", "object", _("json_schema for an answer of a given shape, json_object for any JSON.")),
        Param(
            "reasoning_effort",
            "string",
            _("How long a reasoning model thinks."),
            values=("none", "minimal", "low", "medium", "high", "xhigh", "max"),
        ),
        Param("verbosity", "string", _("How long the answer is."), values=("low", "medium", "high")),
        Param("modalities", "array<string>", _("What is made: text, or audio where the model has a price for it.")),
        Param("audio", "object", _("Voice and format of spoken answers.")),
        Param("web_search_options", "object", _("Searches the web. The model must have a price for searches.")),
        Param("seed", "integer", _("Asks for the same answer to the same request.")),
        Param("frequency_penalty", "number", _("Above 0, words that were said often become less likely.")),
        Param("presence_penalty", "number", _("Above 0, words that were said at all become less likely.")),
        Param("logprobs", "boolean", _("Tell the probability of each token.")),
        Param("top_logprobs", "integer", _("How many likely tokens to tell for each place.")),
        parameters.SERVICE_TIER,
        parameters.PROMPT_CACHE_KEY,
        parameters.SAFETY,
    ),
    (
        parameters.ID,
        parameters.OBJECT,
        parameters.CREATED,
        parameters.MODEL_FIELD,
        Param("choices", "array<object>", _("The answers; one unless n asked for more.")),
        Param("choices[].index", "integer", _("Which of them it is.")),
        Param("choices[].message.role", "string", _("Always assistant.")),
        Param("choices[].message.content", "string | null", _("The text of the answer.")),
        Param("choices[].message.tool_calls", "array<object>", _("The tools to be called, with arguments as JSON.")),
        Param(
            "choices[].finish_reason",
            "string",
            _("Why it ended."),
            values=("stop", "length", "tool_calls", "content_filter", "function_call"),
        ),
        Param("usage", "object", _("Token usage statistics.")),
        Param("usage.prompt_tokens", "integer", _("Tokens read, cached ones included.")),
        Param("usage.completion_tokens", "integer", _("Tokens written, reasoning included.")),
        Param("usage.total_tokens", "integer", _("Both together.")),
        Param("usage.prompt_tokens_details.cached_tokens", "integer", _("Of those read, how many came from a cache.")),
        Param(
            "usage.completion_tokens_details.reasoning_tokens",
            "integer",
            _("Of those written, how many were thoughts."),
        ),
        parameters.COST,
    ),
    {
        "id": _COMPLETION,
        "object": "chat.completion",
        "created": 1790000000,
        "model": "gpt-4o",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"},
        ],
        "usage": {
            "prompt_tokens": 8,
            "completion_tokens": 3,
            "total_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
            "cost": 0.00005,
        },
    },
    Call("client.chat.completions.create", after=("print(response.choices[0].message.content)",)),
    Call("client.chat.completions.create", after=("console.log(response.choices[0].message.content);",)),
    models=("gpt-4o", "gpt-4.1", "gpt-5", "o3", "o4-mini"),
    request={"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "stream": False},
    stream=(
        _CHUNK % ('{"role":"assistant","content":"Hello"}', "null")
        + _CHUNK % ('{"content":"!"}', "null")
        + _CHUNK % ("{}", '"stop"')
        + 'data: {"id":"chatcmpl-8f2c","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o",'
        '"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":3,"total_tokens":11,"cost":0.00005}}\n\n'
        "data: [DONE]\n\n"
    ),
    notes=(
        parameters.ANSWER_HEADERS,
        parameters.CAPPED,
        parameters.CONVERTED,
        parameters.STORED,
        _("store is always sent as false: nothing is kept at the provider."),
    ),
)

COMPLETIONS = Doc(
    "completions",
    _("Create Completion"),
    _("Continues a text, for base models and code infilling that know no chat."),
    "OpenAI",
    (
        parameters.MODEL,
        need(
            "prompt",
            "string | array<string> | array<integer>",
            _("The text to go on with, or several; tokens work too."),
        ),
        Param("suffix", "string", _("What comes after the gap that the model fills.")),
        Param("max_tokens", "integer", _("Maximum number of output tokens; 16 where it is not said.")),
        parameters.TEMPERATURE,
        parameters.TOP_P,
        Param("n", "integer", _("Answers to each prompt, at most 128. Each is charged.")),
        Param("best_of", "integer", _("No more than n.")),
        Param("echo", "boolean", _("Repeat the prompt before the answer.")),
        Param("stop", "string | array<string>", _("Texts at which the answer ends.")),
        Param("logprobs", "integer", _("How many likely tokens to tell for each place.")),
        Param("frequency_penalty", "number", _("Above 0, words that were said often become less likely.")),
        Param("presence_penalty", "number", _("Above 0, words that were said at all become less likely.")),
        Param("seed", "integer", _("Asks for the same answer to the same request.")),
        parameters.STREAM,
        parameters.INCLUDE_USAGE,
        parameters.USER,
    ),
    (
        parameters.ID,
        parameters.OBJECT,
        parameters.CREATED,
        parameters.MODEL_FIELD,
        Param("choices", "array<object>", _("The continuations.")),
        Param("choices[].index", "integer", _("Which of them it is.")),
        Param("choices[].text", "string", _("The text that was added.")),
        Param("choices[].finish_reason", "string", _("Why it ended."), values=("stop", "length", "content_filter")),
        Param("usage", "object", _("Token usage statistics.")),
        Param("usage.prompt_tokens", "integer", _("Tokens read.")),
        Param("usage.completion_tokens", "integer", _("Tokens written.")),
        Param("usage.total_tokens", "integer", _("Both together.")),
        parameters.COST,
    ),
    {
        "id": "cmpl-5b1d",
        "object": "text_completion",
        "created": 1790000000,
        "model": "gpt-3.5-turbo-instruct",
        "choices": [{"index": 0, "text": " time, in a quiet village,", "logprobs": None, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10, "cost": 0.0000185},
    },
    Call("client.completions.create", after=("print(response.choices[0].text)",)),
    Call("client.completions.create", after=("console.log(response.choices[0].text);",)),
    models=("gpt-3.5-turbo-instruct", "davinci-002", "babbage-002"),
    request={"model": "gpt-3.5-turbo-instruct", "prompt": "Once upon a", "max_tokens": 7},
    stream=(
        'data: {"id":"cmpl-5b1d","object":"text_completion","created":1790000000,"model":"gpt-3.5-turbo-instruct",'
        '"choices":[{"index":0,"text":" time,","logprobs":null,"finish_reason":"length"}]}\n\n'
        "data: [DONE]\n\n"
    ),
    notes=(
        _("Only channels that speak this API serve it; it is not converted. New work is better off with chat."),
        parameters.ANSWER_HEADERS,
    ),
)

DOCS = (CHAT, COMPLETIONS)
