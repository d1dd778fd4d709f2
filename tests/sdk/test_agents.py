"""Claude Code and Codex, the released programs, do a turn with a tool through the relay: natively and converted.

They are large (650 MB) and want Node, which is no part of this project's set-up, so nothing installs them, not even in
CI: `npm install --prefix DIRECTORY @anthropic-ai/claude-code @openai/codex`, then `AGENTS_DIR=DIRECTORY`. Without it
these tests are skipped, and only what the agents once sent is converted (`tests/relay/exchange/test_agents_bodies.py`).
Nothing but loopback is asked: the agents get a home of their own and no way to their makers.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.agents_upstream import FILE, LAST, WORDS, agents_upstream, bodies

AGENTS_DIR = os.environ.get("AGENTS_DIR", "")
pytestmark = [
    pytest.mark.skipif(not AGENTS_DIR, reason="AGENTS_DIR names no folder where npm installed the agents"),
    pytest.mark.any_database,
]
MODEL = "agent-1"
TIMEOUT = 120
# What each answer of a double uses, in nanos, at 1 USD a million tokens in and 2 USD out: 100 in, 20 out.
COST = 100 * 1_000 + 20 * 2_000
QUIET = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    # Whatever else they may look for ends here.
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1",
}
CODEX = """
model = "{model}"
model_provider = "costrouter"
model_reasoning_effort = "high"
web_search = "disabled"
approval_policy = "never"
sandbox_mode = "danger-full-access"

[analytics]
enabled = false

[model_providers.costrouter]
name = "CostRouter"
base_url = "{url}/v1"
env_key = "COSTROUTER_API_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""


class Desk:
    """A home, a folder to work in, and the relay between an agent and an upstream of some dialect."""

    def __init__(self, world: Any, relay: Any, folder: Path, dialect: str, *, native: bool) -> None:
        self.world, self.relay = world, relay
        self.home, self.work = folder / "home", folder / "work"
        self.home.mkdir()
        self.work.mkdir()
        self.upstream = agents_upstream(dialect, native=native)
        self.upstream.start()
        model = world.new_model(MODEL, context_window=400_000, max_output=64_000, input="1", output="2")
        models = {model: self.upstream.model}
        world.new_channel(self.upstream.url, provider=self.upstream.provider, models=models)
        relay.settled_down()

    def run(self, agent: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [str(Path(AGENTS_DIR) / "node_modules" / ".bin" / agent), *arguments],
                cwd=self.work,
                env={"PATH": os.environ["PATH"], "HOME": str(self.home), **QUIET, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        finally:
            self.upstream.stop()

    def claude_code(self, prompt: str = "Write the file.") -> dict[str, Any]:
        """Claude Code's own account of a turn."""
        ran = self.run(
            *("claude", "-p", prompt, "--output-format", "json", "--allowedTools", "Bash,Read"),
            ANTHROPIC_BASE_URL=self.relay.url,
            ANTHROPIC_AUTH_TOKEN=self.world.secret,
            ANTHROPIC_MODEL=MODEL,
            ANTHROPIC_DEFAULT_HAIKU_MODEL=MODEL,
        )
        assert ran.returncode == 0, (ran.stdout, ran.stderr, self.upstream.wrongs)
        told: dict[str, Any] = json.loads(ran.stdout)
        return told

    def codex(self, prompt: str = "Write the file.") -> list[dict[str, Any]]:
        """Codex's own account of a turn, event by event."""
        config = self.home / ".codex" / "config.toml"
        config.parent.mkdir()
        config.write_text(CODEX.format(model=MODEL, url=self.relay.url))
        ran = self.run(
            *("codex", "exec", "--skip-git-repo-check", "--json", prompt), COSTROUTER_API_KEY=self.world.secret
        )
        assert ran.returncode == 0, (ran.stdout, ran.stderr, self.upstream.wrongs)
        return [json.loads(line) for line in ran.stdout.splitlines()]

    def is_done(self, endpoint: str) -> None:
        """The file was written, both requests were right, and exactly they were charged."""
        assert self.upstream.wrongs == []
        assert (self.work / FILE).read_text() == WORDS
        records = self.world.records()
        said = [(record.endpoint, record.status, record.units, record.cost_nanos) for record in records]
        assert said == [(endpoint, "ok", self.upstream.units, COST)] * 2
        assert [record.estimated for record in records] == [False, False]
        assert self.world.prove()["charged_nanos"] == 2 * COST


@pytest.fixture
def desk(world: Any, relay: Any, tmp_path: Path) -> Any:
    return lambda dialect, native=False: Desk(world, relay, tmp_path, dialect, native=native)


@pytest.mark.parametrize("dialect", ["anthropic", "chat", "responses", "gemini"])
def test_claude_code(desk: Any, dialect: str) -> None:
    at = desk(dialect, dialect == "anthropic")
    told = at.claude_code()
    assert (told["subtype"], told["is_error"], told["result"], told["num_turns"]) == ("success", False, LAST, 2)
    used = told["modelUsage"][MODEL]
    whole = at.upstream.units["input"], at.upstream.units["cache_read"], at.upstream.units["output"]
    assert (used["inputTokens"], used["cacheReadInputTokens"], used["outputTokens"]) == tuple(2 * n for n in whole)
    at.is_done("messages")


def test_claude_code_natively_sends_what_only_anthropic_knows(desk: Any) -> None:
    at = desk("anthropic", native=True)
    at.claude_code()
    seen = at.upstream.seen[0]
    assert "claude-code-20250219" in seen.headers["anthropic-beta"].split(",")
    assert seen.headers["anthropic-version"] == "2023-06-01"
    first, second = bodies(at.upstream)
    assert {"context_management", "metadata", "thinking", "output_config"} <= first.keys()
    [thought, call] = next(message for message in second["messages"] if message["role"] == "assistant")["content"]
    assert (thought["type"], call["type"]) == ("thinking", "tool_use")
    at.is_done("messages")


@pytest.mark.parametrize("dialect", ["responses", "chat", "anthropic", "gemini"])
def test_codex(desk: Any, dialect: str) -> None:
    at = desk(dialect, dialect == "responses")
    events = at.codex()
    assert [event for event in events if event["type"] in ("error", "turn.failed")] == []
    done = [event["item"] for event in events if event["type"] == "item.completed"]
    [ran] = [item for item in done if item["type"] == "command_execution"]
    assert (ran["exit_code"], ran["status"]) == (0, "completed")
    assert WORDS in ran["aggregated_output"]
    assert (done[-1]["type"], done[-1]["text"]) == ("agent_message", LAST)
    [usage] = [event["usage"] for event in events if event["type"] == "turn.completed"]
    assert (usage["input_tokens"], usage["cached_input_tokens"], usage["output_tokens"]) == (200, 80, 40)
    at.is_done("responses")
