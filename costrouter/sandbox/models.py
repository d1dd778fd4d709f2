"""The sandbox's models. Bootstrap enters them into the catalogue with these prices."""

from __future__ import annotations

from dataclasses import dataclass

CONTEXT_WINDOW = 128_000
MAX_OUTPUT = 16_384


@dataclass(frozen=True, slots=True)
class SandboxModel:
    """A model: its pace in seconds a token, how long-winded it is, its price in USD per million tokens."""

    name: str
    display_name: str
    delay: float
    sentences: int
    price_input: str
    price_output: str


MODELS: dict[str, SandboxModel] = {
    model.name: model
    for model in (
        SandboxModel("sandbox-small", "Sandbox Small", 0.02, 2, "0.15", "0.6"),
        SandboxModel("sandbox-large", "Sandbox Large", 0.03, 6, "2.5", "10"),
        SandboxModel("sandbox-fast", "Sandbox Fast", 0.0, 2, "0.15", "0.6"),
    )
}
