"""OpenAI's legacy completions: text goes on. Passed through only; answers are read as those of chat completions.

Source of the format: `CompletionCreateParams` and `Completion` of the openai 3.54 package. Each prompt of a list is
answered `n` times. `max_tokens` is 16 where nobody says, which is sent along: other servers have other defaults.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Request, Target
from relay.protocols.chat.request import (
    MAX_CHOICES,
    STORED,
    UNBOUNDED,
    UNPRICED,
    include_usage,
    refuse_nested,
    refused_field,
)
from relay.protocols.chat.request import upstream_body as chat_body
from relay.protocols.fields import (
    MAX_CAP,
    boolean,
    given,
    integer,
    model_of,
    no_deep_nesting,
    read_object,
    value_of,
)
from relay.protocols.plain_json import add_text, add_unknown, tier_of

DEFAULT_CAP = 16
_KNOWN = frozenset(
    {
        *("model", "prompt", "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "n"),
        *("presence_penalty", "seed", "stop", "stream", "stream_options", "suffix", "temperature", "top_p", "top_k"),
        *("min_p", "user", "service_tier", "store"),
    }
)
_REFUSED = tuple(name for name in (*UNBOUNDED, *UNPRICED, *STORED) if name != "best_of")
# A word that is one token of every tokenizer: so many of it stand for as many tokens.
_WORD = " a"


def parse(body: bytes, path: str = "") -> Request:
    """Read a request's body. Raises RelayError: bad JSON, a quantity out of bounds, a field that cannot be relayed."""
    with no_deep_nesting():
        fields = read_object(body)
        model = model_of(fields)
        for name in _REFUSED:
            if given(fields, name):
                raise refused_field(name)
        refuse_nested(value_of(fields, "extra_body"))
        each = integer(fields, "n", 1, MAX_CHOICES) or 1
        if (integer(fields, "best_of", 1, MAX_CHOICES) or each) > each:
            raise RelayError("unsupported_field", "best_of cannot be more than n.", param="best_of")
        cap = integer(fields, "max_tokens", 0, MAX_CAP)
        request = Request(
            "completions",
            fields,
            model,
            boolean(fields, "stream"),
            cap=DEFAULT_CAP if cap is None else cap,
            features=tier_of(fields),
            options=include_usage(fields),
        )
        prompts = _prompts(value_of(fields, "prompt"))
        request.messages, request.choices = len(prompts), each * len(prompts)
        for prompt in prompts:
            _read_prompt(request, prompt)
        add_text(request, value_of(fields, "suffix"))
        add_unknown(request, _KNOWN)
        return request


def _prompts(value: Any) -> list[Any]:
    """The prompts of a request: texts, or lists of tokens. None is one that says nothing."""
    if isinstance(value, list) and not all(map(_is_token, value)):
        return value
    return [value]


def _read_prompt(request: Request, prompt: Any) -> None:
    if isinstance(prompt, list) and prompt and all(map(_is_token, prompt)):
        request.text_bytes += len(prompt)
        request.texts.append(_WORD * len(prompt))
    elif isinstance(prompt, str) or prompt is None:
        add_text(request, prompt)
    else:
        raise RelayError(
            "invalid_request",
            "prompt must be a text, a list of texts, a list of tokens, or a list of lists of tokens.",
            param="prompt",
        )


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def upstream_body(request: Request, target: Target) -> bytes:
    """The body for an upstream, as of a chat completion; but nothing here is ever stored, and a cap always said."""
    fields = request.fields
    if not given(fields, "max_tokens"):
        fields = {**fields, "max_tokens": msgspec.Raw(msgspec.json.encode(request.cap))}
    return chat_body(replace(request, fields=fields), replace(target, cap=None, stores=False))
