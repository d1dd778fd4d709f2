"""Tables of the guides around the reference: keys on the wire, streams, headers, SDKs."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from costrouter.reference.entries import ENTRIES
from costrouter.reference.marks import BASE, KEY
from costrouter.reference.shapes import Text
from costrouter.reference.snippets import Snippet
from costrouter.reference.snippets.curl import curl
from costrouter.reference.snippets.node import streaming as node_streaming
from costrouter.reference.snippets.python import streaming as python_streaming

CHAT = ENTRIES["chat.completions"]

# How a key is sent: where, as what, and whose clients do so. The first that is there counts.
KEY_PLACES: tuple[tuple[Text, str, Text], ...] = (
    (_("Header"), f"Authorization: Bearer {KEY}", _("OpenAI's clients, newer ones of Anthropic's, and most others")),
    (_("Header"), f"x-api-key: {KEY}", _("Anthropic's clients")),
    (_("Header"), f"x-goog-api-key: {KEY}", _("Google's clients")),
    (_("Query"), f"?key={KEY}", _("Older clients of Google's; it is neither logged nor passed on")),
    (
        _("Websocket subprotocol"),
        f"openai-insecure-api-key.{KEY}",
        _("Browsers, which cannot send headers: realtime only"),
    ),
)


@dataclass(frozen=True, slots=True)
class Stream:
    """How a format streams: how it is asked for, how it ends, and where its usage is."""

    api: str
    ask: str
    end: str
    usage: str


STREAMS: tuple[Stream, ...] = (
    Stream("Chat Completions", '"stream": true', "data: [DONE]", '"stream_options": {"include_usage": true}'),
    Stream("Responses", '"stream": true', "response.completed", "response.usage"),
    Stream("Messages", '"stream": true', "message_stop", "message_delta"),
    Stream("Gemini", ":streamGenerateContent?alt=sse", "finishReason", "usageMetadata"),
)
STREAMING: tuple[Snippet, ...] = (
    Snippet("curl", "sh", curl(CHAT, stream=True)),
    Snippet(
        "Python",
        "python",
        python_streaming(
            CHAT,
            (
                "for chunk in stream:",
                "    for choice in chunk.choices:",
                '        print(choice.delta.content or "", end="", flush=True)',
            ),
        ),
    ),
    Snippet(
        "Node",
        "javascript",
        node_streaming(
            CHAT,
            (
                "for await (const chunk of stream) {",
                '  for (const choice of chunk.choices) process.stdout.write(choice.delta.content ?? "");',
                "}",
            ),
        ),
    ),
)

# Headers of answers, and what they say.
HEADERS: tuple[tuple[str, Text], ...] = (
    ("x-request-id", _("The request's ID: search Usage Logs for it, or ask GET /v1/generation.")),
    ("request-id", _("The same, for Anthropic's clients.")),
    ("x-costrouter-cost", _("What a whole answer cost, in USD, exactly. A stream's cost is in its usage.")),
    ("x-costrouter-max-output", _("The output was capped at so many tokens, since the balance affords no more.")),
    ("x-ratelimit-limit-requests", _("Requests a minute that are allowed, where a limit is set.")),
    ("x-ratelimit-remaining-requests", _("How many of them are left.")),
    ("x-ratelimit-reset-requests", _("When all of them are free again, as in 12.5s.")),
    ("x-ratelimit-limit-tokens", _("Tokens a minute that are allowed, input and output together.")),
    ("x-ratelimit-remaining-tokens", _("How many of them are left.")),
    ("x-ratelimit-reset-tokens", _("When all of them are free again.")),
    ("anthropic-ratelimit-*", _("The same limits under Anthropic's names, for its clients.")),
    ("retry-after", _("With 429 and 503: seconds after which to try again.")),
    ("x-should-retry", _("With 403: false. Trying again changes nothing, and official SDKs do not.")),
)

# Client → its base URL, and how it is told.
SDKS: tuple[tuple[str, str, str], ...] = (
    ("OpenAI (Python, Node)", f"{BASE}/v1", "base_url, baseURL, OPENAI_BASE_URL"),
    ("Anthropic (Python, TypeScript)", BASE, "base_url, baseURL, ANTHROPIC_BASE_URL"),
    ("Google GenAI (Python, JavaScript)", BASE, "http_options.base_url, httpOptions.baseUrl"),
)
AGENTS: tuple[Snippet, ...] = (
    Snippet(
        "Claude Code",
        "sh",
        f"export ANTHROPIC_BASE_URL={BASE}\n"
        f"export ANTHROPIC_AUTH_TOKEN={KEY}\n"
        "export ANTHROPIC_MODEL=MODEL\n"
        "export ANTHROPIC_DEFAULT_HAIKU_MODEL=SMALL_MODEL\n"
        "claude\n",
    ),
    Snippet(
        "Codex (~/.codex/config.toml)",
        "toml",
        'model = "MODEL"\n'
        'model_provider = "costrouter"\n'
        'web_search = "disabled"\n\n'
        "[model_providers.costrouter]\n"
        'name = "CostRouter"\n'
        f'base_url = "{BASE}/v1"\n'
        'env_key = "COSTROUTER_API_KEY"\n'
        'wire_api = "responses"\n',
    ),
)
