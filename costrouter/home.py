"""The public home page: what this site is, for people who are not signed in."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from costrouter.lib.units import UNITS
from relay.endpoints import ENDPOINTS, Endpoint

# Category of `relay.endpoints` → its icon, and what it is for.
CATEGORIES: dict[str, tuple[str, str | Promise]] = {
    "Chat": ("chat", _("OpenAI's formats: conversations, tools, reasoning, structured output, streamed or whole.")),
    "Anthropic": ("text", _("Anthropic's Messages, and its count of tokens.")),
    "Gemini": ("code", _("Google's generateContent, streamed or whole, and its embeddings.")),
    "Embeddings, rerank, moderation": ("embed", _("Texts as vectors, in the order of a query, and judged.")),
    "Images": ("image", _("Pictures made, edited and varied.")),
    "Audio": ("audio", _("Speech made, written down and translated.")),
    "Video": ("video", _("Videos made in the background and fetched when they are ready.")),
    "Models and realtime": ("models", _("What a key may use, at which price; and conversations over a websocket.")),
    "Account": ("wallet", _("What a key has spent, what is left, and what a request cost.")),
}

_PYTHON = """\
from openai import OpenAI

client = OpenAI(base_url="{base}/v1", api_key="YOUR_KEY")
answer = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(answer.choices[0].message.content)
print(answer.usage.cost, "USD")"""
_ANTHROPIC = """\
from anthropic import Anthropic

client = Anthropic(base_url="{base}", api_key="YOUR_KEY")
message = client.messages.create(
    model="{model}",
    max_tokens=1024,
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(message.content[0].text)"""
_GEMINI = """\
from google import genai

client = genai.Client(api_key="YOUR_KEY", http_options={{"base_url": "{base}"}})
answer = client.models.generate_content(
    model="{model}",
    contents="Hello",
)
print(answer.text)"""
_CURL = """\
curl {base}/v1/chat/completions \\
  -H "Authorization: Bearer YOUR_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}",
       "messages": [{{"role": "user", "content": "Hello"}}]}}'"""
# What a tab says, the language, the code.
_FIRST_CALLS = (
    ("OpenAI SDK", "python", _PYTHON),
    ("Anthropic SDK", "python", _ANTHROPIC),
    ("Google SDK", "python", _GEMINI),
    ("curl", "sh", _CURL),
)


def base_url(request: HttpRequest) -> str:
    """This site's address as its reader sees it, without a slash at the end."""
    return request.build_absolute_uri("/").rstrip("/")


def first_calls(base: str, model: str = "MODEL") -> list[tuple[str, str, str]]:
    """A first conversation by each official SDK: (what a tab says, language, code)."""
    return [(label, lang, text.format(base=base, model=model)) for label, lang, text in _FIRST_CALLS]


@dataclass(frozen=True, slots=True)
class Section:
    """A category of endpoints."""

    title: str
    icon: str
    about: str | Promise
    endpoints: tuple[Endpoint, ...]


def sections() -> list[Section]:
    """The relay's endpoints by category, in the order of its table."""
    return [
        Section(name, *CATEGORIES[name], tuple(row for row in ENDPOINTS if row.category == name))
        for name in dict.fromkeys(row.category for row in ENDPOINTS)
    ]


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """`/`: members go to their console, everybody else reads what this is."""
    if request.user.is_authenticated:
        return redirect(settings.LOGIN_REDIRECT_URL)
    base = base_url(request)
    context = {
        "base_url": base,
        "snippets": first_calls(base),
        "sections": sections(),
        "endpoint_count": len(ENDPOINTS),
        "unit_count": len(UNITS),
    }
    return render(request, "home.html", context)
