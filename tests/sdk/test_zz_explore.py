import json, os, subprocess, pytest, sys
from tests.sdk.anthropic_double import AnthropicDouble
from tests.sdk.chat_double import ChatDouble
from tests.sdk.responses_double import ResponsesDouble
from tests.sdk.gemini_double import GeminiDouble
from tests.sdk.mind import Facts, Said
from tests.doubles import json_reply, sse_reply, Reply

FILE = "made.txt"
TEXT = "relayed"
SHELLS = {
    "Bash": lambda c: {"command": c, "description": "Write a file"},
    "exec_command": lambda c: {"cmd": c},
    "shell_command": lambda c: {"command": c},
    "shell": lambda c: {"command": ["bash", "-c", c]},
}
DUMP = os.environ["DUMP"]


def plain(double):
    class Agents(type(double)):
        n = 0

        def _choose(self, seen):
            type(self).n += 1
            open(f"{DUMP}/{self.n:02d}.json", "w").write(
                json.dumps(
                    {
                        "m": seen.method,
                        "path": seen.path,
                        "headers": seen.headers,
                        "body": json.loads(seen.body) if seen.body else None,
                    },
                    indent=1,
                )
            )
            text = seen.body.decode()
            body = json.loads(text)
            stream = bool(body.get("stream")) or "stream" in seen.path
            try:
                f = self.read(seen)
            except Exception as e:
                self.wrongs.append(repr(e)[:3000])
            facts = Facts(stream=stream, show=True)
            has = any(
                w in text for w in ('"tool_result"', '"function_call_output"', '"role":"tool"', '"functionResponse"')
            )
            name = next((n for n in SHELLS if f'"name":"{n}"' in text), None)
            if has:
                said = Said("All done: the file is written.")
            elif name:
                said = Said(
                    "I shall write it." if self.dialect != "responses" else "",
                    [(name, SHELLS[name](f"printf {TEXT} > {FILE}"))],
                    "calls",
                )
            else:
                said = Said('{"title":"x"}')
            return sse_reply(self.stream(facts, said)) if stream else json_reply(self.whole(facts, said))

    double.__class__ = Agents
    return double


DOUBLES = {d.dialect: d for d in (AnthropicDouble, ChatDouble, ResponsesDouble, GeminiDouble)}
CODEX = """
model = "double-1"
model_provider = "costrouter"
web_search = "disabled"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[analytics]
enabled = false
[model_providers.costrouter]
name = "CostRouter"
base_url = "%s/v1"
env_key = "COSTROUTER_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""


@pytest.mark.parametrize("dialect", list(DOUBLES))
@pytest.mark.parametrize("agent", ["claude", "codex"])
def test_x(agent, dialect, world, relay, tmp_path):
    d = plain(DOUBLES[dialect]().start())
    home = tmp_path / "home"
    home.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    model = world.new_model("agent-1", context_window=400_000, max_output=64_000, input="1", output="2")
    world.new_channel(d.url, provider=d.provider, models={model: d.model})
    relay.settled_down()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    bin = "/tmp/agents/node_modules/.bin/"
    if agent == "claude":
        env |= {
            "ANTHROPIC_BASE_URL": relay.url,
            "ANTHROPIC_AUTH_TOKEN": world.secret,
            "ANTHROPIC_MODEL": "agent-1",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": "agent-1",
            "ANTHROPIC_SMALL_FAST_MODEL": "agent-1",
            "IS_SANDBOX": "1",
        }
        if os.environ.get("CC_EXTRA"):
            env |= json.loads(os.environ["CC_EXTRA"])
        cmd = [bin + "claude", "-p", "Write a file.", "--output-format", "json", "--allowedTools", "Bash"]
    else:
        (home / ".codex").mkdir()
        (home / ".codex/config.toml").write_text((CODEX % relay.url).replace("double-1", "agent-1"))
        env |= {"COSTROUTER_KEY": world.secret}
        cmd = [bin + "codex", "exec", "--skip-git-repo-check", "--json", "Write a file."]
    try:
        r = subprocess.run(cmd, cwd=work, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        print(r.returncode, r.stdout[-3000:], "ERR", r.stderr[-3000:])
    except subprocess.TimeoutExpired as e:
        print("TIMEOUT", e.stdout and e.stdout[-3000:], e.stderr and e.stderr[-3000:])
    d.stop()
    print("SEEN", [(s.method, s.path, len(s.body)) for s in d.seen])
    print("WRONGS", *d.wrongs, sep="\n  ")
    print("FILES", [(p.name, p.read_text()) for p in work.iterdir()])
    for rec in world.records():
        print(
            "REC",
            {
                k: v
                for k, v in rec.__dict__.items()
                if k
                in (
                    "status",
                    "http_status",
                    "error_code",
                    "error",
                    "units",
                    "cost_nanos",
                    "endpoint",
                    "model_name",
                    "path",
                    "message",
                )
            },
        )
    print(world.prove())
