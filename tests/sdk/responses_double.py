"""Responses as OpenAI answers them.

Shapes: `Response`, the stream events and `ResponseCreateParams` of the openai package. Assistant messages and reasoning
come back without the ids that their types want, as Codex sends them too. Nothing is ever stored here.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from tests.doubles.upstream import Seen
from tests.sdk.double import CREDENTIALS, Double, authentic, check, need, said_event
from tests.sdk.mind import REFUSAL, SIGNATURE, THOUGHT, Facts, Said, pieces

USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 0},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 8},
    "total_tokens": 120,
}


class ResponsesDouble(Double):
    """OpenAI's API."""

    dialect, provider, model = "responses", "openai", "gpt-5-double"
    units = {"input": 60, "cache_read": 40, "output": 20, "reasoning": 8}

    def read(self, seen: Seen) -> Facts:
        need(seen.path == "/v1/responses", seen.path)
        authentic(seen, "authorization", f"Bearer {CREDENTIALS}")
        body = seen.json
        need(body["model"] == self.model, f"the model is {body['model']}")
        need(body.get("store") is False, "store must be false")
        need("previous_response_id" not in body, "Previous response not found")
        facts = Facts(stream=body.pop("stream", False) or False)
        written = json.loads(json.dumps(body))
        items = written["input"]
        for item in items if isinstance(items, list) else ():
            _complete(item)
        check(ResponseCreateParamsNonStreaming, written)
        facts.system = body.get("instructions") or ""
        if isinstance(body["input"], str):
            facts.prompt = body["input"]
        else:
            self._items(facts, body["input"])
        reasoning = body.get("reasoning") or {}
        facts.thinking, facts.show = reasoning.get("effort") == "high", reasoning.get("summary") == "auto"
        encrypted = "reasoning.encrypted_content" in body.get("include", ())
        need(encrypted or not facts.thinking, "a model that reasons was not asked for its encrypted reasoning")
        for tool in body.get("tools", ()):
            need(tool["strict"] is False, "a tool became strict on the way")
            facts.tools[tool["name"]] = tool["parameters"]
        choice = body.get("tool_choice", "auto")
        facts.choice = choice if isinstance(choice, str) else choice["name"]
        facts.schema = body.get("text", {}).get("format", {}).get("schema")
        facts.cap = body.get("max_output_tokens")
        need(facts.cap is None or facts.cap >= 16, "max_output_tokens: integer below minimum value")
        return facts

    def _items(self, facts: Facts, items: list[dict[str, Any]]) -> None:
        waiting: set[str] = set()
        before: str | None = None
        for item in items:
            kind = item.get("type", "message")
            need(before != "reasoning" or kind in ("function_call", "message"), "reasoning without its following item")
            if kind == "reasoning":
                need(item["encrypted_content"] == SIGNATURE, "The encrypted content could not be verified")
            elif kind == "function_call":
                facts.signed = before == "reasoning" or (before == kind and facts.signed)
                facts.calls[item["call_id"]] = (item["name"], json.loads(item["arguments"]))
                waiting.add(item["call_id"])
                facts.results = {}
            elif kind == "function_call_output":
                need(item["call_id"] in waiting, "No tool call found for function call output")
                waiting.discard(item["call_id"])
                output = item["output"]
                texts = [{"text": output}] if isinstance(output, str) else output
                facts.results[item["call_id"]] = "".join(part["text"] for part in texts)
            elif item["role"] == "user":
                self._said(facts, item["content"])
            elif item["role"] in ("system", "developer"):
                facts.system += item["content"]
            before = kind
        need(not waiting, "No tool output found for function call")
        need(before != "reasoning", "reasoning without its following item")

    def _said(self, facts: Facts, content: Any) -> None:
        facts.prompt, facts.images, facts.results = "", [], {}
        for part in [{"type": "input_text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "input_text":
                facts.prompt += part["text"]
            else:
                head, _, data = part["image_url"].partition(",")
                need(head == "data:image/png;base64", head)
                facts.images.append(base64.b64decode(data, validate=True))

    def _output(self, facts: Facts, said: Said) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        if said.thought:
            summary = [{"type": "summary_text", "text": THOUGHT}] if facts.show else []
            items.append(
                {
                    "id": f"rs_{len(facts.calls)}",
                    "type": "reasoning",
                    "summary": summary,
                    "encrypted_content": SIGNATURE,
                }
            )
        if not said.calls:
            part: dict[str, Any] = {"type": "output_text", "annotations": [], "logprobs": [], "text": said.text}
            if said.stop == "refusal":
                part = {"type": "refusal", "refusal": REFUSAL}
            status = "incomplete" if said.stop == "length" else "completed"
            head = {"id": "msg_double", "type": "message", "status": status, "role": "assistant"}
            items.append({**head, "content": [part]})
        for number, (name, arguments) in enumerate(said.calls, len(facts.calls)):
            call = {"id": f"fc_{number}", "type": "function_call", "status": "completed", "call_id": f"call_{number}aB"}
            items.append({**call, "name": name, "arguments": json.dumps(arguments)})
        return items

    def _response(self, status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
        details = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            **{"id": "resp_double", "object": "response", "created_at": 1_790_000_000, "status": status},
            **{"background": False, "error": None, "incomplete_details": details, "instructions": None},
            **{"max_output_tokens": None, "metadata": {}, "model": self.model, "output": output},
            **{"parallel_tool_calls": True, "previous_response_id": None, "prompt_cache_key": None},
            **{"reasoning": {"effort": None, "summary": None}, "service_tier": "default", "store": False},
            **{"temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": []},
            **{"top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "usage": usage, "user": None},
        }

    def whole(self, facts: Facts, said: Said) -> dict[str, Any]:
        status = "incomplete" if said.stop == "length" else "completed"
        return self._response(status, self._output(facts, said), USAGE)

    def stream(self, facts: Facts, said: Said) -> list[bytes]:
        told: list[tuple[str, dict[str, Any]]] = []
        for kind in ("response.created", "response.in_progress"):
            told.append((kind, {"response": self._response("in_progress", [], None)}))
        items = self._output(facts, said)
        for index, item in enumerate(items):
            opened = {**item, "status": "in_progress"} if "status" in item else dict(item)
            opened |= {name: empty for name, empty in _EMPTY.items() if name in item}
            told.append(("response.output_item.added", {"output_index": index, "item": opened}))
            told += [(kind, {"item_id": item["id"], "output_index": index, **said}) for kind, said in _growth(item)]
            told.append(("response.output_item.done", {"output_index": index, "item": item}))
        whole = self.whole(facts, said)
        told.append((f"response.{whole['status']}", {"response": whole}))
        return [said_event(kind, sequence_number=number, **fields) for number, (kind, fields) in enumerate(told)]

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": "invalid_request_error", "param": "input", "code": "bad_double"}}


# What an item has nothing of yet when it begins.
_EMPTY: dict[str, Any] = {"content": [], "arguments": "", "summary": []}


def _growth(item: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The events between an item's beginning and its end."""
    found: list[tuple[str, dict[str, Any]]] = []
    if item["type"] == "function_call":
        kind = "response.function_call_arguments"
        found += [(f"{kind}.delta", {"delta": piece, "obfuscation": "xY"}) for piece in pieces(item["arguments"])]
        return [*found, (f"{kind}.done", {"arguments": item["arguments"], "name": item["name"]})]
    summary = item["type"] == "reasoning"
    for index, part in enumerate(item["summary" if summary else "content"]):
        where = {"summary_index" if summary else "content_index": index}
        field = "refusal" if part["type"] == "refusal" else "text"
        text, kind = part[field], "reasoning_summary_text" if summary else part["type"]
        group = "reasoning_summary_part" if summary else "content_part"
        logprobs = {"logprobs": []} if kind == "output_text" else {}
        found.append((f"response.{group}.added", {**where, "part": {**part, field: ""}}))
        for piece in pieces(text):
            found.append((f"response.{kind}.delta", {**where, "delta": piece, **logprobs, "obfuscation": "xY"}))
        found.append((f"response.{kind}.done", {**where, field: text, **logprobs}))
        found.append((f"response.{group}.done", {**where, "part": part}))
    return found


def _complete(item: dict[str, Any]) -> None:
    """Add what the types want and the API does not."""
    if item.get("type") == "reasoning":
        item.setdefault("id", "rs_unknown")
    if item.get("role") == "assistant" and isinstance(item["content"], list):
        item.setdefault("id", "msg_unknown")
        item.setdefault("status", "completed")
        for part in item["content"]:
            if part["type"] == "output_text":
                part.setdefault("annotations", [])
