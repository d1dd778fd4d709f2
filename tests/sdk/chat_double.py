"""Chat completions as OpenAI answers them, with the reasoning that DeepSeek and others add.

Shapes: `ChatCompletion`, `ChatCompletionChunk` and the request types of the openai package. `reasoning_content` as
DeepSeek documents it: a turn that thought before it called a tool must come back with it.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from tests.doubles.upstream import DONE, Seen, event
from tests.sdk.double import CREDENTIALS, Double, authentic, check, need
from tests.sdk.mind import THOUGHT, Facts, Said, pieces

USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 0},
    "completion_tokens_details": {
        **{"reasoning_tokens": 8, "audio_tokens": 0},
        **{"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    },
}
_FINISH = {"calls": "tool_calls", "sequence": "stop", "refusal": "content_filter"}


class ChatDouble(Double):
    """An OpenAI-compatible server."""

    dialect, provider, model = "chat", "openai_compatible", "gpt-double"
    units = {"input": 60, "cache_read": 40, "output": 20, "reasoning": 8}

    def read(self, seen: Seen) -> Facts:
        need(seen.path == "/v1/chat/completions", seen.path)
        authentic(seen, "authorization", f"Bearer {CREDENTIALS}")
        body = seen.json
        need(body["model"] == self.model, f"the model is {body['model']}")
        facts = Facts(stream=body.pop("stream", False))
        if facts.stream:
            need(body.pop("stream_options", None) == {"include_usage": True}, "stream_options")
        thoughts = [message.pop("reasoning_content", None) for message in body["messages"]]
        for message in body["messages"]:
            message.pop("annotations", None)  # an answer's own, which clients send back
        check(CompletionCreateParamsNonStreaming, body)
        waiting: set[str] = set()
        for message, thought in zip(body["messages"], thoughts, strict=True):
            role, content = message["role"], message.get("content")
            if role == "tool":
                need(message["tool_call_id"] in waiting, "messages with role 'tool' must follow 'tool_calls'")
                waiting.discard(message["tool_call_id"])
                facts.results[message["tool_call_id"]] = content
                continue
            need(not waiting, "an assistant message with 'tool_calls' must be followed by tool messages")
            facts.results = {}
            if role == "system":
                facts.system += content
            elif role == "assistant":
                need(content or message.get("tool_calls") or message.get("refusal"), "an empty assistant message")
                calls = message.get("tool_calls") or []
                waiting = {call["id"] for call in calls}
                need(len(waiting) == len(calls), "two calls of one id")
                for call in calls:
                    function = call["function"]
                    facts.calls[call["id"]] = (function["name"], json.loads(function["arguments"]))
                facts.signed = thought == THOUGHT
            else:
                facts.prompt, facts.images = "", []
                for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
                    if part["type"] == "text":
                        facts.prompt += part["text"]
                    else:
                        head, _, data = part["image_url"]["url"].partition(",")
                        need(head == "data:image/png;base64", head)
                        facts.images.append(base64.b64decode(data, validate=True))
        need(not waiting, "an assistant message with 'tool_calls' must be followed by tool messages")
        facts.thinking = facts.show = body.get("reasoning_effort", "none") != "none"
        need(not (facts.thinking and facts.results) or facts.signed, "Missing reasoning_content field")
        facts.tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in body.get("tools", ())}
        choice = body.get("tool_choice", "auto")
        facts.choice = choice if isinstance(choice, str) else choice["function"]["name"]
        form = body.get("response_format", {"type": "text"})
        facts.schema = form["json_schema"]["schema"] if form["type"] == "json_schema" else None
        facts.cap = body.get("max_completion_tokens", body.get("max_tokens"))
        stop = body.get("stop") or []
        facts.stops = [stop] if isinstance(stop, str) else stop
        return facts

    def whole(self, facts: Facts, said: Said) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": said.text or None,
            "refusal": None,
            "annotations": [],
        }
        if said.thought:
            message["reasoning_content"] = THOUGHT
        if said.calls:
            message["tool_calls"] = [
                {"id": f"call_{number}aB", "type": "function", "function": {"name": n, "arguments": json.dumps(a)}}
                for number, (n, a) in enumerate(said.calls, len(facts.calls))
            ]
        choice = {"index": 0, "message": message, "logprobs": None}
        return {
            **{"id": "chatcmpl-double", "object": "chat.completion", "created": 1_790_000_000, "model": self.model},
            "choices": [{**choice, "finish_reason": _FINISH.get(said.stop, said.stop)}],
            "usage": USAGE,
            **{"service_tier": "default", "system_fingerprint": "fp_double"},
        }

    def stream(self, facts: Facts, said: Said) -> list[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
        if said.thought:
            deltas += [{"reasoning_content": piece, "content": None} for piece in pieces(THOUGHT)]
        deltas += [{"content": piece} for piece in pieces(said.text)]
        for number, (name, arguments) in enumerate(said.calls):
            opened = {"name": name, "arguments": ""}
            call = {
                "index": number,
                "id": f"call_{len(facts.calls) + number}aB",
                "type": "function",
                "function": opened,
            }
            deltas.append({"tool_calls": [call]})
            for piece in pieces(json.dumps(arguments)):
                deltas.append({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
        ends = [(delta, None) for delta in deltas] + [({}, _FINISH.get(said.stop, said.stop))]
        chunk = {
            **{"id": "chatcmpl-double", "object": "chat.completion.chunk", "created": 1_790_000_000},
            **{"model": self.model, "service_tier": "default", "system_fingerprint": "fp_double"},
        }
        return [
            *(
                event(
                    {
                        **chunk,
                        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
                        **{"usage": None, "obfuscation": "Xy"},
                    }
                )
                for delta, finish in ends
            ),
            event({**chunk, "choices": [], "usage": USAGE, "obfuscation": ""}),
            DONE,
        ]

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": "bad_double"}}
