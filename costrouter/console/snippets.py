"""Code that works as pasted, with this site's base URL and a key filled in: shown once beside a new key."""

from __future__ import annotations

_CURL = """\
curl {base}/v1/chat/completions \\
  -H "Authorization: Bearer {key}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello."}}]}}'"""

_PYTHON = """\
from openai import OpenAI

client = OpenAI(base_url="{base}/v1", api_key="{key}")
answer = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(answer.choices[0].message.content)"""

_NODE = """\
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{base}/v1", apiKey: "{key}" }});
const answer = await client.chat.completions.create({{
  model: "{model}",
  messages: [{{ role: "user", content: "Say hello." }}],
}});
console.log(answer.choices[0].message.content);"""

_ANTHROPIC = """\
from anthropic import Anthropic

client = Anthropic(base_url="{base}", api_key="{key}")
answer = client.messages.create(
    model="{model}",
    max_tokens=1000,
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(answer.content[0].text)"""

_CLAUDE_CODE = """\
export ANTHROPIC_BASE_URL="{base}"
export ANTHROPIC_AUTH_TOKEN="{key}"
export ANTHROPIC_MODEL="{model}"
claude"""

# Label, language, text.
_SNIPPETS = (
    ("curl", "bash", _CURL),
    ("Python", "python", _PYTHON),
    ("Node", "javascript", _NODE),
    ("Anthropic SDK", "python", _ANTHROPIC),
    ("Claude Code", "bash", _CLAUDE_CODE),
)


def key_snippets(*, base: str, key: str, model: str) -> list[tuple[str, str, str]]:
    """Rows of (label, language, text). `base`: the site's address, without a slash at its end."""
    return [(label, lang, text.format(base=base, key=key, model=model)) for label, lang, text in _SNIPPETS]
