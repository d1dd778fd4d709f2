"""A Gemini request as the neutral conversation.

Source of the format: the request types of the google-genai 3.4 package. `safetySettings` that let more through than
Google would say nothing to other makers; one that asks for a filter is refused, for nobody would apply it. `labels`,
`mediaResolution` and what a function returns are hints.
"""

from __future__ import annotations

import math
from typing import Any

from relay.protocols import ir
from relay.protocols.base import Request
from relay.protocols.fields import Fields, boolean, given, integer, list_of, no_deep_nesting, string, value_of
from relay.protocols.gemini.contents import WHERE, messages_of
from relay.protocols.gemini.fields import camel, invalid, object_of, objects
from relay.protocols.gemini.request import generation_config

_TOP = frozenset(
    {
        *("contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings"),
        *("labels", "serviceTier", "store", "model"),
    }
)
_CONFIG = frozenset(
    {
        *("candidateCount", "maxOutputTokens", "temperature", "topP", "topK", "seed", "stopSequences"),
        *("presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs", "responseMimeType", "responseSchema"),
        *("responseJsonSchema", "responseModalities", "thinkingConfig", "mediaResolution"),
    }
)
_HARMLESS = frozenset({"BLOCK_NONE", "OFF", "HARM_BLOCK_THRESHOLD_UNSPECIFIED"})
_DECLARATION = frozenset(
    {"name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema", "behavior"}
)
_MAX = 2**53


def to_ir(request: Request) -> ir.Request:
    """The conversation. Raises RelayError for what no other dialect can say."""
    with no_deep_nesting():
        fields = request.fields
        config = generation_config(fields)
        _refuse_unknown(fields, _TOP, "")
        _refuse_unknown(config, _CONFIG, "generationConfig.")
        _check_harmless(fields, config)
        return ir.Request(
            model=request.model,
            messages=messages_of(fields),
            stream=request.stream,
            tools=_tools(fields),
            tool_choice=_tool_choice(fields),
            output=_output(config),
            thinking=_thinking(config),
            max_tokens=request.cap,
            choices=request.choices,
            temperature=_real(config, "temperature"),
            top_p=_real(config, "topP"),
            top_k=_whole(config, "topK"),
            seed=_whole(config, "seed"),
            stop=_strings(list_of(config, "stopSequences"), "generationConfig.stopSequences"),
            presence_penalty=_real(config, "presencePenalty"),
            frequency_penalty=_real(config, "frequencyPenalty"),
            logprobs=(_whole(config, "logprobs") or 0) if boolean(config, "responseLogprobs") else None,
        )


def _refuse_unknown(fields: Fields, known: frozenset[str], where: str) -> None:
    for name in fields:
        if name not in known and given(fields, name):
            raise ir.unsupported(where + name, WHERE)


def _check_harmless(fields: Fields, config: Fields) -> None:
    """Refuse what asks for more than an answer in text."""
    tier = (string(fields, "serviceTier") or "").lower().removeprefix("service_tier_")
    if tier not in ("", "unspecified", "standard"):
        raise ir.unsupported("serviceTier", WHERE)
    for number, setting in enumerate(objects(value_of(fields, "safetySettings"), "safetySettings")):
        if setting.get("threshold", "OFF") not in _HARMLESS:
            raise ir.unsupported(f"safetySettings[{number}]", WHERE)
    for modality in list_of(config, "responseModalities"):
        if str(modality).upper() not in ("TEXT", "MODALITY_UNSPECIFIED"):
            raise ir.unsupported("generationConfig.responseModalities", WHERE)


def _real(config: Fields, name: str) -> float | None:
    value = value_of(config, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e9 <= value <= 1e9:
        raise invalid(f"generationConfig.{name}", "a number")
    return float(value)


def _whole(config: Fields, name: str) -> int | None:
    return integer(config, name, -_MAX, _MAX)


def _strings(values: Any, name: str) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise invalid(name, "a list of strings")
    return values


def _tools(fields: Fields) -> list[ir.Tool]:
    found = []
    for number, tool in enumerate(objects(value_of(fields, "tools"), "tools")):
        for name in tool:
            if name != "functionDeclarations":
                raise ir.unsupported(f"tools[{number}].{name}", WHERE)
        where = f"tools[{number}].functionDeclarations"
        for place, function in enumerate(objects(tool.get("functionDeclarations"), where)):
            found.append(_tool(function, f"{where}[{place}]"))
    return found


def _tool(function: dict[str, Any], where: str) -> ir.Tool:
    for field in function:
        if field not in _DECLARATION or (field == "behavior" and function[field] == "NON_BLOCKING"):
            raise ir.unsupported(f"{where}.{field}", WHERE)
    name, description = function.get("name"), function.get("description")
    if not isinstance(name, str) or not isinstance(description, str | None):
        raise invalid(where, "a name and perhaps a description")
    schema = function.get("parametersJsonSchema")
    if schema is None and "parameters" in function:
        schema = json_schema(function["parameters"])
    if not isinstance(schema, dict | None):
        raise invalid(f"{where}.parametersJsonSchema", "an object")
    return ir.Tool(name, description, schema)


def json_schema(schema: Any) -> Any:
    """Google's subset of OpenAPI's schemas, as JSON Schema: types in small letters, `nullable` as a type."""
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    nullable = False
    for name, value in schema.items():
        known = camel(name) if isinstance(name, str) else name
        if known == "nullable":
            nullable = value is True
        elif known == "propertyOrdering" or value is None or (known == "type" and value == "TYPE_UNSPECIFIED"):
            continue
        elif known == "type" and isinstance(value, str):
            found["type"] = value.lower()
        elif known == "properties" and isinstance(value, dict):
            found[known] = {key: json_schema(inner) for key, inner in value.items()}
        elif known in ("items", "additionalProperties"):
            found[known] = json_schema(value)
        elif known in ("anyOf", "prefixItems") and isinstance(value, list):
            found[known] = [json_schema(inner) for inner in value]
        elif known.startswith(("min", "max")) and isinstance(value, str) and value.isdigit() and len(value) < 16:
            found[known] = int(value)  # proto JSON writes 64-bit numbers as strings
        else:
            found[known] = value
    if nullable and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return found


def _tool_choice(fields: Fields) -> ir.ToolChoice | None:
    config = object_of(value_of(fields, "toolConfig"), "toolConfig")
    for name, value in config.items():
        if name != "functionCallingConfig" and value:
            raise ir.unsupported(f"toolConfig.{name}", WHERE)
    where = "toolConfig.functionCallingConfig"
    calling = object_of(config.get("functionCallingConfig"), where)
    for name, value in calling.items():
        if name not in ("mode", "allowedFunctionNames") and value:
            raise ir.unsupported(f"{where}.{name}", WHERE)
    if not calling:
        return None
    mode = str(calling.get("mode") or "AUTO").upper()
    names = _strings(calling.get("allowedFunctionNames", []), f"{where}.allowedFunctionNames")
    if mode == "ANY":
        return ir.ToolChoice("named", names) if names else ir.ToolChoice("required")
    if mode == "NONE":
        return ir.ToolChoice("none")
    if mode not in ("AUTO", "VALIDATED", "MODE_UNSPECIFIED"):
        raise invalid(f"{where}.mode", "AUTO, ANY, NONE or VALIDATED")
    if names:
        raise ir.unsupported(f"{where}.allowedFunctionNames", WHERE)
    return ir.ToolChoice("auto")


def _output(config: Fields) -> ir.OutputFormat | None:
    kind = string(config, "responseMimeType") or ""
    schema = value_of(config, "responseJsonSchema")
    if schema is None:
        schema = json_schema(value_of(config, "responseSchema"))
    if not isinstance(schema, dict | None):
        raise invalid("generationConfig.responseJsonSchema", "an object")
    if kind == "application/json" or (schema is not None and not kind):
        return ir.OutputFormat(schema)
    if kind not in ("", "text/plain"):
        raise ir.unsupported("generationConfig.responseMimeType", WHERE)
    return None


def _thinking(config: Fields) -> ir.Thinking | None:
    if not given(config, "thinkingConfig"):
        return None
    where = "generationConfig.thinkingConfig"
    thinking = object_of(value_of(config, "thinkingConfig"), where)
    budget, level, show = (thinking.pop(name, None) for name in ("thinkingBudget", "thinkingLevel", "includeThoughts"))
    for name in thinking:
        raise ir.unsupported(f"{where}.{name}", WHERE)
    if budget is not None and (not _is_whole(budget) or not -1 <= budget <= _MAX):
        raise invalid(f"{where}.thinkingBudget", "a whole number from -1")
    effort = level.lower() if isinstance(level, str) else level
    if effort == "thinking_level_unspecified":
        effort = None
    if effort not in (None, "minimal", "low", "medium", "high", "xhigh"):
        raise invalid(f"{where}.thinkingLevel", "MINIMAL, LOW, MEDIUM, HIGH or XHIGH")
    if not isinstance(show, bool | None):
        raise invalid(f"{where}.includeThoughts", "true or false")
    return ir.Thinking(effort, None if budget in (None, -1) else int(budget), show)


def _is_whole(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or (math.isfinite(value) and value.is_integer())
