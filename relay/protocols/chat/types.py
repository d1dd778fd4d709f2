"""The types of a chat completion's request, as far as it is converted.

Sources: the request types of the openai 3.54 package; `cache_control`, `reasoning`, `reasoning_details` as OpenRouter
documents them, `thinking` as DeepSeek, Z.ai and Moonshot do, `enable_thinking` as Qwen does, `top_k` as vLLM does.
Unknown fields inside are passed over: clients send answers back with all that these had.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from relay.protocols.fields import MAX_CAP

Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Tokens = Annotated[int, msgspec.Meta(ge=0, le=MAX_CAP)]


class ImageUrl(msgspec.Struct):
    url: str
    detail: str | None = None


class InputAudio(msgspec.Struct):
    data: str
    format: str


class File(msgspec.Struct):
    file_data: str | None = None
    filename: str | None = None


class Part(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    input_audio: InputAudio | None = None
    file: File | None = None
    cache_control: dict[str, Any] | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


Content = str | list[Part | str] | Part | None


class Called(msgspec.Struct):
    name: str
    arguments: str | None = None
    input: str | None = None


class Call(msgspec.Struct):
    id: str | None = None
    function: Called | None = None
    custom: Called | None = None


class Message(msgspec.Struct):
    role: str
    content: Content = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Called | None = None
    tool_call_id: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None


class Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    type: str = "function"
    function: Function | None = None
    custom: Function | None = None
    cache_control: dict[str, Any] | None = None


class Allowed(msgspec.Struct):
    mode: str
    tools: list[Tool]


class Choice(msgspec.Struct):
    type: str
    function: Function | None = None
    custom: Function | None = None
    allowed_tools: Allowed | None = None


class Schema(msgspec.Struct):
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class Format(msgspec.Struct):
    type: str
    json_schema: Schema | None = None


class Reasoning(msgspec.Struct):
    effort: str | None = None
    max_tokens: Tokens | None = None
    exclude: bool | None = None
    enabled: bool | None = None


class Thinking(msgspec.Struct):
    type: str
    budget_tokens: Tokens | None = None


class Body(msgspec.Struct):
    """Every field that is converted."""

    messages: list[Message]
    tools: list[Tool] | None = None
    functions: list[Function] | None = None
    tool_choice: str | Choice | None = None
    function_call: str | Function | None = None
    parallel_tool_calls: bool | None = None
    response_format: Format | None = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    thinking: Thinking | None = None
    enable_thinking: bool | None = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    n: Any = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Integer | None = None
    seed: Integer | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Integer | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, str] | None = None
    verbosity: str | None = None
    prompt_cache_key: str | None = None
    modalities: list[str] | None = None
