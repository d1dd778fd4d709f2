"""generateContent as Google's Gemini API answers it.

Shapes: the types of the google-genai package, which know no other fields; rules from the Gemini API's guides "Function
calling" and "Thought signatures": results directly follow their calls, as many, and the first call of a turn comes back
with its signature.
"""

from __future__ import annotations

from typing import Any

from google.genai import types
from pydantic import ValidationError

from tests.doubles.upstream import Seen, event
from tests.sdk.double import CREDENTIALS, Double, authentic, need
from tests.sdk.mind import SIGNATURE, THOUGHT, Facts, Said, Wrong, pieces

USAGE = {
    "promptTokenCount": 100,
    "candidatesTokenCount": 12,
    "totalTokenCount": 120,
    "cachedContentTokenCount": 40,
    "thoughtsTokenCount": 8,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 40}],
}
_TOP = {
    *("contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "cachedContent"),
    *("labels", "store", "serviceTier"),
}
# Google's word for a call that Gemini did not make.
SKIP = "skip_thought_signature_validator"


class GeminiDouble(Double):
    """Google's API."""

    dialect, provider, model = "gemini", "gemini", "gemini-3-double"
    units = {"input": 60, "cache_read": 40, "output": 20, "reasoning": 8}
    signs = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read(self, seen: Seen) -> Facts:
        authentic(seen, "x-goog-api-key", CREDENTIALS)
        actions = {
            f"/v1beta/models/{self.model}:generateContent": False,
            f"/v1beta/models/{self.model}:streamGenerateContent?alt=sse": True,
        }
        need(seen.path in actions, seen.path)
        body = seen.json
        need(set(body) <= _TOP, f"Unknown name in {sorted(body)}")
        facts = Facts(stream=actions[seen.path])
        try:
            contents = [types.Content.model_validate(content) for content in body["contents"]]
            system = types.Content.model_validate(body.get("systemInstruction", {}))
            tools = [types.Tool.model_validate(tool) for tool in body.get("tools", ())]
            calling = types.ToolConfig.model_validate(body.get("toolConfig", {})).function_calling_config
            config = types.GenerationConfig.model_validate(body.get("generationConfig", {}))
        except ValidationError as error:
            raise Wrong(str(error)[:2_000]) from error
        facts.system = "".join(part.text or "" for part in system.parts or ())
        self._contents(facts, contents, body["contents"])
        for tool in tools:
            for declared in tool.function_declarations or ():
                facts.tools[declared.name or ""] = declared.parameters_json_schema or {}
        if calling is not None and calling.mode is not None:
            names = calling.allowed_function_names or ["required"]
            facts.choice = names[0] if calling.mode.value == "ANY" else calling.mode.value.lower()
        need(not config.response_json_schema or not config.response_schema, "two schemas")
        if config.response_schema is not None or config.response_json_schema is not None:
            need(config.response_mime_type == "application/json", "response_mime_type")
            schema = config.response_schema
            facts.schema = config.response_json_schema if schema is None else schema.model_dump(exclude_none=True)
        thinking = config.thinking_config or types.ThinkingConfig()
        need(self.signs or thinking.thinking_level is None, "Thinking level is not supported for this model")
        facts.thinking = thinking.thinking_level is not None or bool(thinking.thinking_budget)
        facts.show = bool(thinking.include_thoughts)
        facts.cap, facts.stops = config.max_output_tokens, config.stop_sequences or []
        return facts

    def _contents(self, facts: Facts, contents: list[types.Content], raw: list[dict[str, Any]]) -> None:
        need(contents and contents[0].role == "user", "Please ensure that contents begin with a user's turn")
        waiting: list[tuple[str | None, str | None]] = []
        keys: list[str] = []
        for content, written in zip(_joined(contents), _joined_raw(raw), strict=True):
            parts = content.parts or []
            need(parts, "a content must have parts")
            if content.role == "model":
                calls = [(part, raw_part) for part, raw_part in zip(parts, written, strict=True) if part.function_call]
                waiting = [(part.function_call.id, part.function_call.name) for part, _ in calls]
                if calls and self.signs:
                    signature = calls[0][1].get("thoughtSignature")
                    need(signature in (SIGNATURE, SKIP), "Function call is missing a thought_signature")
                    facts.signed = signature == SIGNATURE
                keys = [id or f"call {len(facts.calls) + number}" for number, (id, _) in enumerate(waiting)]
                for key, (part, _) in zip(keys, calls, strict=True):
                    facts.calls[key] = (part.function_call.name, part.function_call.args)
                continue
            need(content.role == "user", f"role {content.role}")
            answers = [part.function_response for part in parts if part.function_response]
            answered = [(each.id, each.name) for each in answers]
            need(
                sorted(answered, key=str) == sorted(waiting, key=str),
                "function response parts must equal function call parts",
            )
            waiting, facts.results, facts.prompt, facts.images = [], {}, "", []
            for part in parts:
                if part.function_response:
                    [value] = part.function_response.response.values()
                    facts.results[part.function_response.id or keys.pop(0)] = value
                elif part.inline_data:
                    need(part.inline_data.mime_type == "image/png", f"mime type {part.inline_data.mime_type}")
                    facts.images.append(part.inline_data.data)
                else:
                    need(part.text is not None, "a part must have data")
                    facts.prompt += part.text
        need(not waiting, "a function call must be followed by its response")

    def _parts(self, facts: Facts, said: Said) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        if said.thought and facts.show:
            found.append({"text": THOUGHT, "thought": True})
        if said.text:
            found.append({"text": said.text})
        for number, (name, arguments) in enumerate(said.calls):
            call: dict[str, Any] = {"name": name, "args": arguments}
            signed = {"thoughtSignature": SIGNATURE} if self.signs and not number else {}
            found.append({"functionCall": self._known(call, len(facts.calls) + number), **signed})
        return found

    def _known(self, call: dict[str, Any], number: int) -> dict[str, Any]:
        return {"id": f"gem{number}aB", **call}

    def _response(self, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish == "SAFETY":
            rating = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}
            candidate = {"index": 0, "safetyRatings": [rating]}
        if finish is not None:
            candidate["finishReason"] = finish
        return {
            "candidates": [candidate],
            "usageMetadata": USAGE,
            "modelVersion": self.model,
            "responseId": "doubleResponse",
        }

    def _finish(self, said: Said) -> str:
        return {"length": "MAX_TOKENS", "refusal": "SAFETY"}.get(said.stop, "STOP")

    def whole(self, facts: Facts, said: Said) -> dict[str, Any]:
        return self._response(self._parts(facts, said), self._finish(said))

    def stream(self, facts: Facts, said: Said) -> list[bytes]:
        parts: list[dict[str, Any]] = []
        for part in self._parts(facts, said):
            if "text" in part:
                parts += [{**part, "text": piece} for piece in pieces(part["text"])]
            else:
                parts.append(part)
        chunks = [self._response([part], None) for part in parts]
        return [event(chunk) for chunk in [*chunks, self._response([{"text": ""}], self._finish(said))]]

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": status, "message": message, "status": "INVALID_ARGUMENT"}}


class OldGeminiDouble(GeminiDouble):
    """Gemini 2.5: calls have no ids and no signatures, and thinking has budgets instead of levels."""

    model, signs = "gemini-2.5-double", False

    def _known(self, call: dict[str, Any], number: int) -> dict[str, Any]:
        return call


def _joined(contents: list[types.Content]) -> list[types.Content]:
    """Neighbours of one role are one turn: a client that read a stream sends its chunks one by one."""
    found: list[types.Content] = []
    for content in contents:
        if found and found[-1].role == content.role:
            found[-1] = types.Content(role=content.role, parts=[*(found[-1].parts or ()), *(content.parts or ())])
        else:
            found.append(content)
    return found


def _joined_raw(contents: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []
    last = None
    for content in contents:
        if content["role"] == last:
            found[-1] += content["parts"]
        else:
            found.append(list(content["parts"]))
        last = content["role"]
    return found
