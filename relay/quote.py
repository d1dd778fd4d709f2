"""What a request may cost, before it is sent (`docs/money.md`), and the cap that keeps it within a hold."""

from __future__ import annotations

from dataclasses import dataclass

from billing.pricing import Rates
from channels_app.snapshot import ModelInfo
from relay.protocols.openai_chat import ChatRequest

# Tokens added to the text of a request: for each message, for the request, and where it has tools.
PER_MESSAGE, PER_REQUEST, WITH_TOOLS = 16, 64, 600
UNKNOWN_MAX_OUTPUT = 32_768
# What an answer without a cap needs at least to be worth starting.
LEAST_OUTPUT = 4_096


@dataclass(frozen=True, slots=True)
class Quote:
    """Bounds in nanos and tokens. `want` covers the longest answer; `minimum` is what must be held to start at all."""

    rates: Rates
    input_tokens: int
    fixed: int
    each_output: int
    choices: int
    minimum: int
    want: int

    def output_cap(self, nanos: int) -> int | None:
        """The output tokens of each choice that `nanos` pays for; None where output costs nothing."""
        each = self.choices * self.each_output
        return max(0, nanos * self.rates.denominator - self.fixed) // each if each else None


def text_bound(chat: ChatRequest) -> int:
    """The most tokens that the text of a request can be: its UTF-8 bytes, and what a chat template adds."""
    return chat.text_bytes + PER_MESSAGE * chat.messages + PER_REQUEST + (WITH_TOOLS if chat.has_tools else 0)


def counted_bound(count: int) -> int:
    """The same from a tokenizer's count, with a tenth for the difference between tokenizers."""
    return -(-count * 11 // 10) + PER_REQUEST


def quote(chat: ChatRequest, model: ModelInfo, rates: Rates, *, text_tokens: int, extra: dict[str, int]) -> Quote:
    """The bounds of a request. `extra` are units charged by the piece, as searches are."""
    window = model.context_window
    media = {kind: sum(model.allowances[kind] for part in chat.media if part.kind == kind) for kind in model.allowances}
    image, audio, text = media["image"], media["audio"], text_tokens + media["file"]
    if window is not None:
        image = min(image, window)
        audio = min(audio, window - image)
        text = min(text, window - image - audio)
    tokens = text + image + audio
    longest = model.max_output or window or UNKNOWN_MAX_OUTPUT
    most = min(chat.cap, longest) if chat.cap is not None else longest
    least = most if chat.cap is not None else min(LEAST_OUTPUT, longest)
    made = {feature.unit for feature in chat.features}
    fixed = rates.input_numerator(text=text, image=image, audio=audio) + rates.flat_numerator(extra)
    each = rates.output_numerator(audio="audio_out" in made, image="image_out" in made, input_tokens=tokens)
    return Quote(
        rates=rates,
        input_tokens=tokens,
        fixed=fixed,
        each_output=each,
        choices=chat.choices,
        minimum=rates.nanos(fixed + chat.choices * least * each),
        want=rates.nanos(fixed + chat.choices * most * each),
    )
