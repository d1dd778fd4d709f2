"""Counting tokens ourselves: `bpe-openai` carries its vocabulary. A count takes milliseconds: use a thread."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

# What chat templates add around each message, and before the answer (OpenAI's cookbook).
PER_MESSAGE, PER_REQUEST = 4, 3
# The library refuses texts of a million characters or 200,000 tokens (a character is four at most), and holds the
# interpreter while it counts: a millisecond or two for a piece of this size. Each cut adds a token at most.
PIECE = 40_000


@cache
def _encoding() -> Any:
    import bpe_openai

    return bpe_openai.get_encoding("o200k_base")


def count(texts: Iterable[str]) -> int:
    """Tokens of texts in the o200k vocabulary: an estimate for models of other makers."""
    encode = _encoding().encode_ordinary
    total = 0
    for text in texts:
        clean = text.encode("utf-8", "replace").decode()
        for start in range(0, len(clean), PIECE):
            total += len(encode(clean[start : start + PIECE]))
    return total
