"""What Claude Code 2.1.197 and Codex 0.169 ask for after their first command, as recorded, onto every other dialect.

The bodies are theirs but for long texts, which are cut, most tools, which are left out, and ids, which are zeros.
`tests/sdk/test_agents.py` has the programs themselves, where they are installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.errors import RelayError
from relay.protocols import DIALECTS, ir
from relay.protocols.base import Target
from tests.doubles.upstream import Seen
from tests.sdk.agents_upstream import COMMAND, DOUBLES, WORDS, agents_upstream
from tests.sdk.double import CREDENTIALS

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
CLAUDE_CODE = json.loads((GOLDEN / "claude_code.json").read_text())
CODEX = json.loads((GOLDEN / "codex.json").read_text())
KNOWN, UNKNOWN = CODEX["a model that it knows"], CODEX["a model that it does not know"]
HEADERS = {
    "anthropic": {"x-api-key": CREDENTIALS, "anthropic-version": "2023-06-01"},
    "chat": {"authorization": f"Bearer {CREDENTIALS}"},
    "responses": {"authorization": f"Bearer {CREDENTIALS}"},
    "gemini": {"x-goog-api-key": CREDENTIALS},
}
PATHS = {
    "anthropic": "/v1/messages",
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "gemini": "/v1beta/models/gemini-3-double:streamGenerateContent?alt=sse",
}


def converted(dialect: str, body: dict[str, Any], to: str) -> dict[str, Any]:
    """The body in another dialect, for the double's model."""
    asked = DIALECTS[dialect].conversation.to_ir(DIALECTS[dialect].parse(json.dumps(body).encode(), ""))
    return json.loads(DIALECTS[to].conversation.from_ir(asked, Target(DOUBLES[to].model)))


def facts_of(dialect: str, body: dict[str, Any], to: str) -> Any:
    """What an upstream as strict as the real one reads in it."""
    sent = json.dumps(converted(dialect, body, to)).encode()
    return agents_upstream(to, native=False).read(Seen(PATHS[to], HEADERS[to], sent))


def made_by(maker: str, signature: str) -> str:
    """A thought of the upstream's own, as the relay gave it to the agent. Gemini signs calls, not thoughts."""
    signed, encrypted = maker == "anthropic", maker == "responses"
    return ir.seal(ir.Reasoning("", maker, signature if signed else None, signature if encrypted else None))


@pytest.mark.parametrize("to", ["chat", "responses", "gemini"])
@pytest.mark.parametrize("how", CLAUDE_CODE)
def test_claude_code(how: str, to: str) -> None:
    body = json.loads(json.dumps(CLAUDE_CODE[how]))
    thought = next(message for message in body["messages"] if message["role"] == "assistant")["content"][0]
    thought["signature"] = made_by(to, thought["signature"])
    facts = facts_of("anthropic", body, to)
    [(call_id, output)] = facts.results.items()
    assert output == f"and here it is:\n{WORDS}"
    name, arguments = facts.calls[call_id]
    assert (name, arguments["command"]) == ("Bash", COMMAND)
    assert (facts.signed, facts.stream) == (to != "gemini", True)
    assert list(facts.tools) == ["Bash", "Read", "WebFetch"]
    assert facts.tools["Read"] == body["tools"][1]["input_schema"]
    assert "You are a Claude agent" in facts.system
    assert facts.cap == 32_000


def test_what_claude_code_says_of_the_system_stands_where_open_models_take_it() -> None:
    messages = converted("anthropic", CLAUDE_CODE["adaptive thinking"], "chat")["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool"]
    assert messages[1]["content"].endswith(" …\n</system-reminder>")


def test_claude_code_that_does_not_think_asks_no_chat_model_to_think() -> None:
    for how, body in CLAUDE_CODE.items():
        silent = {**body, "thinking": {"type": "disabled"}}
        assert "reasoning_effort" not in converted("anthropic", silent, "chat"), how


@pytest.mark.parametrize("how", CLAUDE_CODE)
def test_how_much_claude_code_wants_thought(how: str) -> None:
    assert converted("anthropic", CLAUDE_CODE[how], "chat")["reasoning_effort"] == "high"
    assert converted("anthropic", CLAUDE_CODE[how], "responses")["reasoning"] == {"effort": "high"}


@pytest.mark.parametrize("to", ["chat", "anthropic", "gemini"])
def test_codex(to: str) -> None:
    body = json.loads(json.dumps(UNKNOWN))
    thought = next(item for item in body["input"] if item["type"] == "reasoning")
    thought["encrypted_content"] = made_by(to, thought["encrypted_content"])
    facts = facts_of("responses", body, to)
    [(call_id, output)] = facts.results.items()
    assert output.endswith(f"Output:\nand here it is:\n{WORDS}")
    assert facts.calls[call_id] == ("exec_command", {"cmd": COMMAND})
    assert (facts.signed, facts.stream, facts.thinking) == (to != "gemini", True, True)
    assert list(facts.tools) == ["exec_command", "view_image", "multi_agent_v1__close_agent"]
    assert "You are a coding agent running in the Codex CLI" in facts.system


def test_tools_that_codex_has_for_openais_models_are_refused_elsewhere_by_name() -> None:
    kinds = [tool["type"] for tool in KNOWN["tools"]]
    assert kinds == ["function", "custom", "function", "tool_search"]
    with pytest.raises(RelayError) as refused:
        converted("responses", KNOWN, "chat")
    assert (refused.value.code, refused.value.param) == ("unsupported_field", "tools[3].type")
    without = {**KNOWN, "tools": KNOWN["tools"][:3]}
    for to in ("anthropic", "gemini"):
        with pytest.raises(RelayError) as refused:
            converted("responses", without, to)
        assert refused.value.status == 400
    assert converted("responses", without, "chat")["tools"][1]["type"] == "custom"
