"""Messages as Anthropic answers them.

Shapes: `Message`, the raw stream events and `MessageCreateParams` of the anthropic package; rules from its
documentation: turns alternate, results directly follow their calls and come first, ids have a pattern, a turn that
thought and then called a tool comes back beginning with its signed thought.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

from tests.doubles.upstream import Seen
from tests.sdk.double import CREDENTIALS, Double, authentic, check, need, said_event
from tests.sdk.mind import SIGNATURE, THOUGHT, Facts, Said, pieces

_INPUT = {
    "input_tokens": 50,
    "cache_creation_input_tokens": 10,
    "cache_read_input_tokens": 40,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 0},
}
_MADE = {"output_tokens": 20, "output_tokens_details": {"thinking_tokens": 8}}
_STOP = {"stop": "end_turn", "length": "max_tokens", "calls": "tool_use", "sequence": "stop_sequence"}
# Sampling parameters that API version 2026-10-21 took out.
_OLD = ("temperature", "top_p", "top_k")


class AnthropicDouble(Double):
    """Anthropic's API."""

    dialect, provider, model = "anthropic", "anthropic", "claude-double"
    units = {"input": 50, "cache_read": 40, "cache_write_5m": 10, "output": 20, "reasoning": 8}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read(self, seen: Seen) -> Facts:
        need(seen.path == "/v1/messages", seen.path)
        authentic(seen, "x-api-key", CREDENTIALS)
        version = seen.headers.get("anthropic-version")
        need(version in ("2023-06-01", "2026-10-21"), f"anthropic-version: {version}")
        body = seen.json
        for name in _OLD:
            need(name not in body or version == "2023-06-01", f"{name}: Extra inputs are not permitted")
            body.pop(name, None)
        need(body["model"] == self.model, f"the model is {body['model']}")
        facts = Facts(stream=body.pop("stream", False))
        check(MessageCreateParamsNonStreaming, body)
        facts.cap, facts.stops = body["max_tokens"], body.get("stop_sequences", [])
        need(facts.cap > 0, "max_tokens")
        system = body.get("system", "")
        facts.system = system if isinstance(system, str) else "".join(block["text"] for block in system)
        thinking = body.get("thinking", {"type": "disabled"})
        facts.thinking = thinking["type"] != "disabled"
        facts.show = thinking.get("display") != "omitted"
        need(thinking.get("budget_tokens", 1_024) in range(1_024, max(facts.cap, 1_025)), "budget_tokens")
        self._messages(facts, body["messages"])
        manual = thinking["type"] == "enabled"
        need(not (manual and facts.results) or facts.signed, "Expected `thinking`, but found `tool_use`")
        facts.tools = {tool["name"]: tool["input_schema"] for tool in body.get("tools", ())}
        choice = body.get("tool_choice", {"type": "auto"})
        facts.choice = {"any": "required", "tool": choice.get("name")}.get(choice["type"], choice["type"])
        need(
            facts.choice == "auto" or not facts.thinking, "Thinking may not be enabled when tool_choice forces tool use"
        )
        facts.schema = body.get("output_config", {}).get("format", {}).get("schema")
        return facts

    def _messages(self, facts: Facts, messages: list[dict[str, Any]]) -> None:
        waiting: list[str] = []
        for number, message in enumerate(messages):
            role, content = message["role"], message["content"]
            need(role == ("user", "assistant")[number % 2], "roles must alternate between user and assistant")
            need(content, "messages must have non-empty content")
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            for block in blocks:
                need(block["type"] != "text" or block["text"].strip(), "text content blocks must be non-empty")
            if role == "assistant":
                waiting = self._turn(facts, blocks)
                continue
            answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            need(sorted(answered) == sorted(waiting), "tool_use ids without tool_result blocks immediately after")
            kinds = [block["type"] == "tool_result" for block in blocks]
            need(kinds == sorted(kinds, reverse=True), "tool_result blocks must come first")
            waiting, facts.results, facts.prompt, facts.images = [], {}, "", []
            for block in blocks:
                self._block(facts, block)
        need(messages[-1]["role"] == "user", "prefilling is not supported by this model")

    def _turn(self, facts: Facts, blocks: list[dict[str, Any]]) -> list[str]:
        calls = [block for block in blocks if block["type"] == "tool_use"]
        for call in calls:
            need(re.fullmatch(r"[a-zA-Z0-9_-]+", call["id"]), "tool_use.id: String should match pattern")
            need(call["id"] not in facts.calls, "tool_use ids must be unique")
            facts.calls[call["id"]] = (call["name"], call["input"])
        thoughts = [block for block in blocks if block["type"] == "thinking"]
        for block in thoughts:
            need((block["thinking"], block["signature"]) == (THOUGHT, SIGNATURE), "Invalid `signature` in `thinking`")
        facts.signed = blocks[0]["type"] == "thinking"
        return [call["id"] for call in calls]

    def _block(self, facts: Facts, block: dict[str, Any]) -> None:
        if block["type"] == "text":
            facts.prompt += block["text"]
        elif block["type"] == "image":
            source = block["source"]
            need((source["type"], source["media_type"]) == ("base64", "image/png"), f"image.source: {source}")
            facts.images.append(base64.b64decode(source["data"], validate=True))
        else:
            content = block["content"]
            text = content if isinstance(content, str) else "".join(inner["text"] for inner in content)
            facts.results[block["tool_use_id"]] = text

    def _blocks(self, facts: Facts, said: Said) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        if said.thought:
            found.append({"type": "thinking", "thinking": THOUGHT if facts.show else "", "signature": SIGNATURE})
        if said.text:
            found.append({"type": "text", "text": said.text})
        for number, (name, arguments) in enumerate(said.calls, len(facts.calls)):
            found.append({"type": "tool_use", "id": f"toolu_{number}aB", "name": name, "input": arguments})
        return found

    def _end(self, said: Said) -> dict[str, Any]:
        if said.stop == "refusal":
            details = {"type": "refusal", "category": "bio", "explanation": None}
            return {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
        return {
            "stop_reason": _STOP[said.stop],
            "stop_sequence": "five" if said.stop == "sequence" else None,
            "stop_details": None,
        }

    def whole(self, facts: Facts, said: Said) -> dict[str, Any]:
        usage = {**_INPUT, **_MADE, "service_tier": "standard", "inference_geo": "global"}
        head = {"model": self.model, "id": "msg_double", "type": "message", "role": "assistant"}
        return {**head, "content": self._blocks(facts, said), **self._end(said), "usage": usage}

    def stream(self, facts: Facts, said: Said) -> list[bytes]:
        head = {"model": self.model, "id": "msg_double", "type": "message", "role": "assistant", "content": []}
        usage = {**_INPUT, "output_tokens": 1, "service_tier": "standard", "inference_geo": "global"}
        begun = {**head, "stop_reason": None, "stop_sequence": None, "stop_details": None, "usage": usage}
        events = [said_event("message_start", message=begun), said_event("ping")]
        for index, block in enumerate(self._blocks(facts, said)):
            kind = block["type"]
            if kind == "thinking":
                opened, deltas = {**block, "thinking": "", "signature": ""}, _thinking_deltas(block)
            elif kind == "text":
                opened = {**block, "text": ""}
                deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
            else:
                opened = {**block, "input": {}}
                written = ["", *pieces(json.dumps(block["input"]))]
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in written]
            events.append(said_event("content_block_start", index=index, content_block=opened))
            events += [said_event("content_block_delta", index=index, delta=delta) for delta in deltas]
            events.append(said_event("content_block_stop", index=index))
        usage = {name: value for name, value in _INPUT.items() if name != "cache_creation"} | _MADE
        events.append(said_event("message_delta", delta=self._end(said), usage=usage))
        return [*events, said_event("message_stop")]

    def error(self, status: int, message: str) -> dict[str, Any]:
        error = {"type": "invalid_request_error", "message": message}
        return {"type": "error", "error": error, "request_id": "req_double"}


def _thinking_deltas(block: dict[str, Any]) -> list[dict[str, Any]]:
    told = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
    return [*told, {"type": "signature_delta", "signature": block["signature"]}]
