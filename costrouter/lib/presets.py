"""THE table of well-known services that speak OpenAI's formats: their address, and where they differ from OpenAI.

A channel of the kind `openai_compatible` is matched to its service by the host of its base URL.

Sources: each service's own API documentation (DeepSeek "Anthropic API", Moonshot "Migrating from OpenAI", Alibaba
Model Studio "OpenAI compatible" and "Anthropic API-compatible", Groq "API reference", OpenRouter "API reference",
Fireworks "Anthropic compatibility", SiliconFlow "Create messages", vLLM "Online serving", Ollama "OpenAI
compatibility").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Preset:
    """A service.

    `base_url`: what the OpenAI SDK takes. `hosts`: its hosts, a leading dot for all within a domain; none: it runs
    anywhere. `others`: the dialects it speaks besides Chat Completions. `anthropic`: the path of its Anthropic base
    URL on the same host, where it is not that of its OpenAI one. `output_cap`: the field that limits output tokens.
    `models`: how the names of its models begin. `prices`: whose list prices they have where their makers' are not
    known, by genai-prices' id.
    """

    name: str
    label: str
    base_url: str
    hosts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    anthropic: str | None = None
    output_cap: str = "max_tokens"
    models: tuple[str, ...] = ()
    prices: str = ""


_NEWER_CAP = "max_completion_tokens"
PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "deepseek",
            "DeepSeek",
            "https://api.deepseek.com/v1",
            ("api.deepseek.com",),
            ("anthropic",),
            anthropic="/anthropic/v1",
            models=("deepseek-",),
        ),
        Preset(
            "moonshot",
            "Moonshot (Kimi)",
            "https://api.moonshot.ai/v1",
            ("api.moonshot.ai", "api.moonshot.cn"),
            ("anthropic",),
            anthropic="/anthropic/v1",
            output_cap=_NEWER_CAP,
            models=("kimi-", "moonshot-"),
            prices="moonshotai",
        ),
        Preset(
            "qwen",
            "Qwen (DashScope)",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            (
                "dashscope.aliyuncs.com",
                "dashscope-intl.aliyuncs.com",
                "dashscope-us.aliyuncs.com",
                ".maas.aliyuncs.com",
            ),
            ("anthropic",),
            anthropic="/apps/anthropic/v1",
            models=("qwen", "qwq-", "qvq-"),
        ),
        Preset(
            "mistral",
            "Mistral",
            "https://api.mistral.ai/v1",
            ("api.mistral.ai",),
            models=("mistral-", "ministral-", "magistral-", "codestral-", "devstral-", "pixtral-"),
        ),
        Preset(
            "xai",
            "xAI",
            "https://api.x.ai/v1",
            ("api.x.ai", ".api.x.ai"),
            ("responses",),
            output_cap=_NEWER_CAP,
            models=("grok-",),
        ),
        Preset(
            "groq",
            "Groq",
            "https://api.groq.com/openai/v1",
            ("api.groq.com",),
            ("responses",),
            output_cap=_NEWER_CAP,
            prices="groq",
        ),
        Preset(
            "together",
            "Together",
            "https://api.together.xyz/v1",
            ("api.together.xyz", "api.together.ai"),
            prices="together",
        ),
        Preset(
            "fireworks",
            "Fireworks",
            "https://api.fireworks.ai/inference/v1",
            ("api.fireworks.ai",),
            ("responses", "anthropic"),
            models=("accounts/fireworks/models/",),
            prices="fireworks",
        ),
        Preset(
            "openrouter",
            "OpenRouter",
            "https://openrouter.ai/api/v1",
            ("openrouter.ai",),
            ("responses", "anthropic"),
            prices="openrouter",
        ),
        Preset(
            "siliconflow",
            "SiliconFlow",
            "https://api.siliconflow.com/v1",
            ("api.siliconflow.com", "api.siliconflow.cn"),
            ("anthropic",),
        ),
        Preset("ollama", "Ollama", "http://localhost:11434/v1", others=("responses", "anthropic")),
        Preset("vllm", "vLLM", "http://localhost:8000/v1", others=("responses", "anthropic")),
    )
}
# OpenAI itself behind a proxy that keeps its host name.
_OPENAI = Preset("openai", "OpenAI", "https://api.openai.com/v1", ("api.openai.com",), ("responses",), None, _NEWER_CAP)


@lru_cache(maxsize=1024)
def preset_of(base_url: str) -> Preset | None:
    """The service that a base URL leads to, or None."""
    try:
        host = (urlsplit(base_url).hostname or "").rstrip(".")
    except ValueError:
        return None
    for preset in (*PRESETS.values(), _OPENAI):
        if any(host == known or (known[0] == "." and host.endswith(known)) for known in preset.hosts):
            return preset
    return None
