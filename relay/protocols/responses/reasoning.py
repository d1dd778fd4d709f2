"""Which models reason, by their names."""

from __future__ import annotations

import re

# Models that reason, so that asking for their encrypted reasoning is no error.
_REASONING_MODEL = re.compile(r"(?:^|/)(?:o\d|gpt-(?:[5-9]|\d\d)(?!.*-chat)|codex-)")


# Models that never do, and refuse to be asked how much.
_OTHER_MODEL = re.compile(r"(?:^|/)(?:gpt-[34]|chatgpt-)")


def may_reason(model: str, asked: bool) -> bool:
    """Whether a model may be asked for its encrypted reasoning; one that does not reason answers that with a 400."""
    return asked or _REASONING_MODEL.search(model) is not None


def never_reasons(model: str) -> bool:
    """Whether a model refuses to be asked how much it should think, which coding agents ask of any."""
    return _OTHER_MODEL.search(model) is not None
