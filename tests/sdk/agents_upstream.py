"""Upstreams whose model does what a coding agent is there for: one command of the agent's own shell, then a last word.

What was converted is read as strictly as the real API would (`tests.sdk.double`). What passes through is the agent's
own business, so of that only what the model needs is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.doubles.upstream import Reply, Seen, json_reply, sse_reply
from tests.sdk.anthropic_double import AnthropicDouble
from tests.sdk.chat_double import ChatDouble
from tests.sdk.double import Double, authentic, need
from tests.sdk.gemini_double import GeminiDouble
from tests.sdk.mind import Facts, Said
from tests.sdk.responses_double import ResponsesDouble

FILE = "made.txt"
WORDS = "made through the relay"
COMMAND = f"printf '%s' '{WORDS}' > {FILE} && echo and here it is: && cat {FILE}"
LAST = "Done: the file is written."
# The shells of the agents, by name → what they want to be called with.
_SHELLS: dict[str, Callable[[], dict[str, Any]]] = {
    "Bash": lambda: {"command": COMMAND, "description": "Write a file"},
    "exec_command": lambda: {"cmd": COMMAND},
    "shell_command": lambda: {"command": COMMAND},
    "shell": lambda: {"command": ["bash", "-c", COMMAND]},
}
DOUBLES: dict[str, type[Double]] = {
    double.dialect: double for double in (AnthropicDouble, ChatDouble, ResponsesDouble, GeminiDouble)
}


def says(facts: Facts) -> Said:
    """The command where nothing was run yet, else the last word: its output must have come back."""
    if facts.results:
        [output] = facts.results.values()
        need(f"and here it is:\n{WORDS}" in output, f"the command's output is {output!r}")
        return Said(LAST, thought=facts.thinking)
    shell = next((name for name in _SHELLS if name in facts.tools), None)
    need(shell, f"no shell among {sorted(facts.tools)}")
    return Said("", [(str(shell), _SHELLS[str(shell)]())], "calls", facts.thinking)


def agents_upstream(dialect: str, *, native: bool) -> Double:
    """An upstream for an agent that speaks its dialect (`native`), or another."""

    class Agents(DOUBLES[dialect]):
        def reply(self, seen: Seen) -> Reply:
            facts = _glance(seen) if native else self.read(seen)
            said = says(facts)
            self.facts.append(facts)
            return sse_reply(self.stream(facts, said)) if facts.stream else json_reply(self.whole(facts, said))

        def _items(self, facts: Facts, items: list[dict[str, Any]]) -> None:
            """Responses' items: a system message may be made of parts, too."""
            super()._items(facts, [_whole(item) if item.get("role") == "system" else item for item in items])

    return Agents()


def _whole(item: dict[str, Any]) -> dict[str, Any]:
    content = item["content"]
    return {**item, "content": content if isinstance(content, str) else "".join(part["text"] for part in content)}


def _glance(seen: Seen) -> Facts:
    """What the model needs of a request that Anthropic's or OpenAI's own agent made for it."""
    body = seen.json
    facts = Facts(stream=body["stream"], show=True)
    if seen.path == "/v1/messages":
        authentic(seen, "x-api-key", "sk-upstream")
        facts.thinking = body["thinking"]["type"] != "disabled"
    else:
        need(seen.path == "/v1/responses", seen.path)
        authentic(seen, "authorization", "Bearer sk-upstream")
        facts.thinking = "effort" in body["reasoning"]
        need(body["store"] is False, "store must be false")
    facts.tools = {tool.get("name", tool.get("type")): tool for tool in body["tools"]}
    for block in _blocks(body):
        if block["type"] in ("tool_result", "function_call_output"):
            content = block["content"] if block["type"] == "tool_result" else block["output"]
            text = content if isinstance(content, str) else "".join(part["text"] for part in content)
            facts.results[block.get("tool_use_id") or block["call_id"]] = text
    return facts


def _blocks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from body.get("input", ())
    for message in body.get("messages", ()):
        yield from message["content"] if isinstance(message["content"], list) else ()


def bodies(double: Double) -> list[dict[str, Any]]:
    """What arrived, request by request."""
    return [json.loads(seen.body) for seen in double.seen]
