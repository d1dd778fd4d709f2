"""The official clients behind one face, so that a table of questions serves all four.

Each keeps its conversation as its SDK's users do: what the model said goes back as the SDK gave it. `Heard` is what the
user of an SDK reads of an answer, in the dialect's own words.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import anthropic
import openai
from google import genai
from google.genai import types
from pydantic import BaseModel

from tests.sdk.mind import PNG, SYSTEM, WEATHER

Units = dict[str, int]
HELLO = "Hello you"
DESCRIPTION = "Today's weather of a city"


class Forecast(BaseModel):
    """What a structured answer is parsed into."""

    city: str
    celsius: int


class StreamFailed(Exception):
    """`response.failed` was told: OpenAI's SDK raises nothing of its own for it, its users look for it."""


@dataclass
class Heard:
    """An answer. `calls`: (id, name, arguments). `refusal`: the model's own words for one, where a dialect has them."""

    text: str
    calls: list[tuple[str, str, dict[str, Any]]]
    stop: str
    usage: dict[str, Any]
    thought: str = ""
    parsed: Any = None
    refusal: str = ""
    sequence: str | None = None


@dataclass
class Ask:
    """A question. A field that a client has no word for is never set for it. `choice`: "required", or a tool's name."""

    prompt: str
    image: bool = False
    tools: bool = False
    structured: bool = False
    think: bool = False
    cap: int | None = None
    stop: str | None = None
    choice: str | None = None


class Client:
    """One conversation with one SDK."""

    dialect: ClassVar[str]

    def __init__(self, url: str, key: str, model: str, *, stream: bool) -> None:
        self.model, self.stream, self.asked = model, stream, Ask("")
        self.history: list[Any] = []
        self.sdk = self.make(url, key)

    def make(self, url: str, key: str) -> Any:
        """The SDK's client, given a base URL and a key and nothing else (but that it asks once)."""
        raise NotImplementedError

    def ask(self, ask: Ask) -> Heard:
        """Ask a question."""
        raise NotImplementedError

    def tell(self, results: dict[str, str]) -> Heard:
        """Tell what the tools answered: call id → text."""
        raise NotImplementedError

    def more(self, prompt: str) -> Heard:
        """Say more in the same conversation, asking for the same things."""
        self.history.append({"role": "user", "content": prompt})
        return self._go()

    def _go(self) -> Heard:
        raise NotImplementedError

    def create(self, **options: Any) -> Any:
        """Say hello by the plainest call there is, with options in the SDK's own words."""
        raise NotImplementedError

    def texts(self) -> Iterator[str]:
        """Say hello and stream the answer's texts as they come."""
        raise NotImplementedError

    @staticmethod
    def usage_of(units: Units) -> dict[str, Any]:
        """Units as this dialect counts them."""
        raise NotImplementedError

    def close(self) -> None:
        """Close its connections."""
        self.sdk.close()


def _input(units: Units) -> int:
    return sum(units.get(name, 0) for name in ("input", "cache_read", "cache_write_5m"))


class Chat(Client):
    """`openai`, chat completions."""

    dialect = "chat"

    def make(self, url: str, key: str) -> Any:
        return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    def ask(self, ask: Ask) -> Heard:
        self.asked = ask
        content: Any = ask.prompt
        if ask.image:
            url = "data:image/png;base64," + base64.b64encode(PNG).decode()
            content = [{"type": "text", "text": ask.prompt}, {"type": "image_url", "image_url": {"url": url}}]
        self.history = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
        return self._go()

    def tell(self, results: dict[str, str]) -> Heard:
        self.history += [{"role": "tool", "tool_call_id": call, "content": text} for call, text in results.items()]
        return self._go()

    def options(self) -> dict[str, Any]:
        """What the question asks for, in this SDK's words."""
        ask, found = self.asked, {"model": self.model, "messages": self.history}
        if ask.tools:
            function = {"name": "get_weather", "description": DESCRIPTION, "parameters": WEATHER}
            found["tools"] = [{"type": "function", "function": function}]
        if ask.choice:
            named = {"type": "function", "function": {"name": ask.choice}}
            found["tool_choice"] = ask.choice if ask.choice == "required" else named
        if ask.structured:
            found["response_format"] = Forecast
        if ask.think:
            found["reasoning_effort"] = "high"
        if ask.cap:
            found["max_completion_tokens" if self.stream else "max_tokens"] = ask.cap
        if ask.stop:
            found["stop"] = [ask.stop]
        return found

    def _go(self) -> Heard:
        completions = self.sdk.chat.completions
        if self.stream:
            with completions.stream(**self.options(), stream_options={"include_usage": True}) as stream:
                deltas = []
                try:
                    deltas += [event.delta for event in stream if event.type == "content.delta"]
                    answer = stream.get_final_completion()
                except openai.LengthFinishReasonError as error:  # its helper's own word for a cap
                    answer = error.completion
            assert "".join(deltas) in ("", answer.choices[0].message.content)
        else:
            answer = (completions.parse if self.asked.structured else completions.create)(**self.options())
        [choice] = answer.choices
        message = choice.message
        shown = message.model_dump(exclude_none=True, exclude={"parsed": True, "tool_calls": {"__all__": {"index"}}})
        for call in shown.get("tool_calls", ()):
            call["function"].pop("parsed_arguments", None)
        self.history.append(shown)
        usage = answer.usage.model_dump(exclude_none=True)
        return Heard(
            message.content or "",
            [(call.id, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()],
            choice.finish_reason,
            {
                "prompt": usage["prompt_tokens"],
                "completion": usage["completion_tokens"],
                "total": usage["total_tokens"],
                "cached": usage["prompt_tokens_details"]["cached_tokens"],
                "reasoning": usage["completion_tokens_details"]["reasoning_tokens"],
            },
            getattr(message, "reasoning_content", None) or "",
            getattr(message, "parsed", None),
            message.refusal or "",
        )

    def create(self, **options: Any) -> Any:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": HELLO}]
        return self.sdk.chat.completions.create(**{"model": self.model, "messages": messages, **options})

    def texts(self) -> Iterator[str]:
        for chunk in self.create(stream=True):
            yield from (choice.delta.content for choice in chunk.choices if choice.delta.content)

    @staticmethod
    def usage_of(units: Units) -> dict[str, Any]:
        prompt = _input(units)
        return {
            "prompt": prompt,
            "completion": units["output"],
            "total": prompt + units["output"],
            "cached": units["cache_read"],
            "reasoning": units["reasoning"],
        }


class Responses(Client):
    """`openai`, responses; nothing is stored, so what the model said goes back."""

    dialect = "responses"

    def make(self, url: str, key: str) -> Any:
        return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    def ask(self, ask: Ask) -> Heard:
        self.asked = ask
        content: Any = ask.prompt
        if ask.image:
            url = "data:image/png;base64," + base64.b64encode(PNG).decode()
            image = {"type": "input_image", "image_url": url, "detail": "auto"}
            content = [{"type": "input_text", "text": ask.prompt}, image]
        self.history = [{"role": "user", "content": content}]
        return self._go()

    def tell(self, results: dict[str, str]) -> Heard:
        kind = "function_call_output"
        self.history += [{"type": kind, "call_id": call, "output": text} for call, text in results.items()]
        return self._go()

    def options(self) -> dict[str, Any]:
        """What the question asks for, in this SDK's words."""
        ask, found = self.asked, {"model": self.model, "input": self.history, "instructions": SYSTEM, "store": False}
        if ask.tools:
            tool = {"type": "function", "name": "get_weather", "description": DESCRIPTION, "parameters": WEATHER}
            found["tools"] = [{**tool, "strict": False}]
        if ask.choice:
            named = {"type": "function", "name": ask.choice}
            found["tool_choice"] = ask.choice if ask.choice == "required" else named
        if ask.structured:
            found["text_format"] = Forecast
        if ask.think:
            found["reasoning"] = {"effort": "high", "summary": "auto"}
            found["include"] = ["reasoning.encrypted_content"]
        if ask.cap:
            found["max_output_tokens"] = ask.cap
        return found

    def _go(self) -> Heard:
        responses = self.sdk.responses
        if self.stream:
            with responses.stream(**self.options()) as stream:
                events = list(stream)
            answer = events[-1].response
            streamed = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            assert streamed == answer.output_text
            assert [event.sequence_number for event in events] == list(range(len(events)))
        else:
            answer = (responses.parse if self.asked.structured else responses.create)(**self.options())
        items = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in answer.output]
        self.history += items
        usage, reason = answer.usage, answer.incomplete_details and answer.incomplete_details.reason
        parts = [part for item in answer.output if item.type == "message" for part in item.content]
        summaries = [text.text for item in answer.output if item.type == "reasoning" for text in item.summary or ()]
        return Heard(
            answer.output_text,
            [(i.call_id, i.name, json.loads(i.arguments)) for i in answer.output if i.type == "function_call"],
            f"{answer.status}: {reason}" if reason else answer.status,
            {
                "input": usage.input_tokens,
                "output": usage.output_tokens,
                "total": usage.total_tokens,
                "cached": usage.input_tokens_details.cached_tokens,
                "reasoning": usage.output_tokens_details.reasoning_tokens,
            },
            "".join(summaries),
            getattr(answer, "output_parsed", None),
            "".join(part.refusal for part in parts if part.type == "refusal"),
        )

    def create(self, **options: Any) -> Any:
        return self.sdk.responses.create(**{"model": self.model, "input": HELLO, "instructions": SYSTEM, **options})

    def texts(self) -> Iterator[str]:
        for event in self.create(stream=True):
            if event.type == "response.output_text.delta":
                yield event.delta
            elif event.type == "response.failed":
                raise StreamFailed(event.response.error.message)

    @staticmethod
    def usage_of(units: Units) -> dict[str, Any]:
        read = _input(units)
        return {
            "input": read,
            "output": units["output"],
            "total": read + units["output"],
            "cached": units["cache_read"],
            "reasoning": units["reasoning"],
        }


class Messages(Client):
    """`anthropic`."""

    dialect = "anthropic"

    def make(self, url: str, key: str) -> Any:
        return anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)

    def ask(self, ask: Ask) -> Heard:
        self.asked = ask
        content: Any = ask.prompt
        if ask.image:
            source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
            content = [{"type": "image", "source": source}, {"type": "text", "text": ask.prompt}]
        self.history = [{"role": "user", "content": content}]
        return self._go()

    def tell(self, results: dict[str, str]) -> Heard:
        blocks = [{"type": "tool_result", "tool_use_id": call, "content": text} for call, text in results.items()]
        self.history.append({"role": "user", "content": blocks})
        return self._go()

    def options(self) -> dict[str, Any]:
        """What the question asks for, in this SDK's words."""
        ask = self.asked
        found = {"model": self.model, "messages": self.history, "system": SYSTEM, "max_tokens": ask.cap or 500}
        if ask.tools:
            found["tools"] = [{"name": "get_weather", "description": DESCRIPTION, "input_schema": WEATHER}]
        if ask.choice:
            named = {"type": "tool", "name": ask.choice}
            found["tool_choice"] = {"type": "any"} if ask.choice == "required" else named
        if ask.structured:
            found["output_format"] = Forecast
        if ask.think:
            found["thinking"] = {"type": "adaptive", "display": "summarized"}
            found["output_config"] = {"effort": "high"}
        if ask.stop:
            found["stop_sequences"] = [ask.stop]
        return found

    def _go(self) -> Heard:
        messages = self.sdk.messages
        if self.stream:
            with messages.stream(**self.options()) as stream:
                streamed = "".join(stream.text_stream)
                answer = stream.get_final_message()
        else:
            answer = (messages.parse if self.asked.structured else messages.create)(**self.options())
            streamed = None
        self.history.append({"role": "assistant", "content": answer.content})
        text = "".join(block.text for block in answer.content if block.type == "text")
        assert streamed in (None, text)
        usage = answer.usage
        return Heard(
            text,
            [(block.id, block.name, block.input) for block in answer.content if block.type == "tool_use"],
            answer.stop_reason,
            {
                "input": usage.input_tokens,
                "output": usage.output_tokens,
                "read": usage.cache_read_input_tokens,
                "written": usage.cache_creation_input_tokens,
                "thinking": usage.output_tokens_details and usage.output_tokens_details.thinking_tokens,
            },
            "".join(block.thinking for block in answer.content if block.type == "thinking"),
            getattr(answer, "parsed_output", None),
            sequence=answer.stop_sequence,
        )

    def create(self, **options: Any) -> Any:
        asked = {"model": self.model, "max_tokens": 500, "messages": [{"role": "user", "content": HELLO}]}
        return self.sdk.messages.create(**{**asked, "system": SYSTEM, **options})

    def texts(self) -> Iterator[str]:
        for event in self.create(stream=True):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                yield event.delta.text

    @staticmethod
    def usage_of(units: Units) -> dict[str, Any]:
        return {
            "input": units["input"],
            "output": units["output"],
            "read": units["cache_read"],
            "written": units.get("cache_write_5m", 0),
            "thinking": units["reasoning"],
        }


class Gemini(Client):
    """`google-genai`, by its own chats."""

    dialect = "gemini"

    def make(self, url: str, key: str) -> Any:
        return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url))

    def ask(self, ask: Ask) -> Heard:
        self.asked = ask
        self.chat = self.sdk.chats.create(model=self.model, config=self.config())
        image = [types.Part.from_bytes(data=PNG, mime_type="image/png")] if ask.image else []
        return self._go([*image, types.Part.from_text(text=ask.prompt)])

    def tell(self, results: dict[str, str]) -> Heard:
        parts = []
        for call, text in results.items():
            answered = types.FunctionResponse(id=call, name="get_weather", response={"result": text})
            parts.append(types.Part(function_response=answered))
        return self._go(parts)

    def more(self, prompt: str) -> Heard:
        return self._go([types.Part.from_text(text=prompt)])

    def config(self) -> types.GenerateContentConfig:
        """What the question asks for, in this SDK's words."""
        ask, found = self.asked, types.GenerateContentConfig(system_instruction=SYSTEM)
        if ask.tools:
            tool = types.FunctionDeclaration(
                name="get_weather", description=DESCRIPTION, parameters_json_schema=WEATHER
            )
            found.tools = [types.Tool(function_declarations=[tool])]
        if ask.choice:
            names = None if ask.choice == "required" else [ask.choice]
            calling = types.FunctionCallingConfig(mode="ANY", allowed_function_names=names)
            found.tool_config = types.ToolConfig(function_calling_config=calling)
        if ask.structured:
            found.response_mime_type, found.response_schema = "application/json", Forecast
        if ask.think:
            level = types.ThinkingLevel.HIGH
            found.thinking_config = types.ThinkingConfig(thinking_level=level, include_thoughts=True)
        found.max_output_tokens = ask.cap
        found.stop_sequences = [ask.stop] if ask.stop else None
        return found

    def _go(self, parts: list[types.Part] | None = None) -> Heard:
        chunks = list(self.chat.send_message_stream(parts)) if self.stream else [self.chat.send_message(parts)]
        said = [part for chunk in chunks for part in (chunk.candidates[0].content or types.Content()).parts or ()]
        last = chunks[-1]
        usage = last.usage_metadata
        calls = [part.function_call for part in said if part.function_call]
        text = "".join(part.text for part in said if part.text and not part.thought)
        parsed = (
            last.parsed if not self.stream else Forecast.model_validate_json(text) if self.asked.structured else None
        )
        return Heard(
            text,
            [(call.id, call.name, call.args) for call in calls],
            last.candidates[0].finish_reason.value,
            {
                "prompt": usage.prompt_token_count,
                "candidates": usage.candidates_token_count,
                "thoughts": usage.thoughts_token_count,
                "cached": usage.cached_content_token_count,
                "total": usage.total_token_count,
            },
            "".join(part.text for part in said if part.text and part.thought),
            parsed,
        )

    def create(self, **options: Any) -> Any:
        config = types.GenerateContentConfig(system_instruction=SYSTEM, **options)
        return self.sdk.models.generate_content(model=self.model, contents=HELLO, config=config)

    def texts(self) -> Iterator[str]:
        config = types.GenerateContentConfig(system_instruction=SYSTEM)
        for chunk in self.sdk.models.generate_content_stream(model=self.model, contents=HELLO, config=config):
            if chunk.text:
                yield chunk.text

    @staticmethod
    def usage_of(units: Units) -> dict[str, Any]:
        prompt = _input(units)
        return {
            "prompt": prompt,
            "candidates": units["output"] - units["reasoning"],
            "thoughts": units["reasoning"],
            "cached": units["cache_read"],
            "total": prompt + units["output"],
        }


CLIENTS = {client.dialect: client for client in (Chat, Responses, Messages, Gemini)}
