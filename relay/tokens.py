"""Counting tokens ourselves: `bpe-openai` carries its vocabulary. A count takes milliseconds: use a thread."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

# What chat templates add around each message, and before the answer (OpenAI's cookbook).
PER_MESSAGE, PER_REQUEST = 4, 3


@cache
def _encoding() -> Any:
    import bpe_openai

    return bpe_openai.get_encoding("o200k_base")


def count(texts: Iterable[str]) -> int:
    """Tokens of texts in the o200k vocabulary: an estimate for models of other makers."""
    encoding = _encoding()
    return sum(len(encoding.encode_ordinary(text.encode("utf-8", "replace").decode())) for text in texts if text)
