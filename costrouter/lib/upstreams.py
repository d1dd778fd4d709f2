"""THE table of upstream kinds: what an operator may choose for a channel. Their words: `relay/upstream/providers/`."""

from __future__ import annotations

import json
from dataclasses import dataclass

# The dialects of conversations. "bedrock" (Amazon's Converse) is spoken by upstreams only.
DIALECTS = {
    "chat": "Chat Completions (OpenAI)",
    "responses": "Responses (OpenAI)",
    "anthropic": "Messages (Anthropic)",
    "gemini": "generateContent (Gemini)",
    "bedrock": "Converse (Bedrock)",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """An upstream kind.

    `base_url`: where it is hosted, "" where that is the operator's own; with /v1 where the provider's SDK has it so.
    `dialects`: the conversation dialects it is asked in, the best first, unless a channel says otherwise. `others`:
    those that a channel may choose besides. `credentials`: what they look like, for people. `prices`: whose list prices
    its models have where their makers' are not known, by genai-prices' id.
    """

    name: str
    label: str
    base_url: str = ""
    dialects: tuple[str, ...] = ("chat",)
    others: tuple[str, ...] = ()
    credentials: str = "an API key"
    example_url: str = ""
    prices: str = ""

    @property
    def choices(self) -> tuple[str, ...]:
        """Every dialect that a channel of this kind may be asked in."""
        return self.dialects + self.others


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("openai", "OpenAI", "https://api.openai.com/v1", ("responses", "chat")),
        Kind(
            "openai_compatible",
            "OpenAI-compatible",
            others=("responses", "anthropic", "gemini"),
            credentials="an API key, or none",
            example_url="https://api.deepseek.com/v1",
        ),
        Kind(
            "azure_openai",
            "Azure OpenAI",
            "",
            ("responses", "chat"),
            credentials="the resource's API key",
            example_url="https://RESOURCE.openai.azure.com/openai/v1",
            prices="azure",
        ),
        Kind("anthropic", "Anthropic", "https://api.anthropic.com", ("anthropic",)),
        Kind("gemini", "Google Gemini", "https://generativelanguage.googleapis.com", ("gemini",)),
        Kind(
            "vertex",
            "Google Vertex AI",
            "https://aiplatform.googleapis.com",
            ("gemini", "anthropic"),
            credentials="a service account's JSON",
            example_url="https://us-central1-aiplatform.googleapis.com",
        ),
        Kind(
            "bedrock",
            "Amazon Bedrock",
            "",
            ("bedrock",),
            credentials="ACCESS_KEY:SECRET_KEY[:SESSION_TOKEN], or a Bedrock API key; @REGION after it where the "
            "base URL does not name the region",
            example_url="https://bedrock-runtime.us-east-1.amazonaws.com",
            prices="aws",
        ),
        Kind("cohere", "Cohere", "https://api.cohere.com", (), ("chat",), prices="cohere"),
        Kind("jina", "Jina", "https://api.jina.ai/v1", ()),
        Kind("minimax", "MiniMax", "https://api.minimax.io/v1", ("chat",), prices="minimax"),
        Kind("sandbox", "Sandbox (built in)", credentials="none"),
    )
}


def effective_dialects(kind: str, chosen: list[str]) -> tuple[str, ...]:
    """A channel's dialects: those chosen for it, else its kind's."""
    return tuple(chosen) or KINDS[kind].dialects


def dialects_problem(kind: str, chosen: object) -> str | None:
    """Why a channel of this kind cannot be asked in these dialects, or None."""
    if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
        return "is a list of names"
    if len(set(chosen)) < len(chosen):
        return "names one twice"
    known = KINDS[kind].choices
    for name in chosen:
        if name not in known:
            spoken = ", ".join(known) or "no conversation"
            return f"has {name}, but {KINDS[kind].label} speaks {spoken}"
    return None


def one_line(credentials: str) -> str:
    """Credentials as they are stored: a service account's file, which is JSON on many lines, becomes one line."""
    text = credentials.strip()
    if not text.startswith("{"):
        return text
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError:
        return text


def credentials_problem(kind: str, credentials: str) -> str | None:
    """Why credentials are not of this kind, or None. They are one line already; they may be missing."""
    if "\r" in credentials or "\n" in credentials:
        return "credentials are more than one line"
    if kind != "vertex" or not credentials:
        return None
    try:
        found = json.loads(credentials)
        missing = [name for name in ("client_email", "private_key", "project_id", "token_uri") if not found.get(name)]
    except (ValueError, AttributeError):
        return "credentials are not the JSON of a service account's key"
    return f"service account's JSON has no {missing[0]}" if missing else None
