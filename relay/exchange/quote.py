"""What a request may cost, before it is sent (`docs/money.md`), and the cap that keeps it within a hold."""

from __future__ import annotations

from dataclasses import dataclass

from billing.pricing.rates import Rates
from channels_app.snapshot import ModelInfo
from relay.protocols.base import Media, Request

# Tokens added to the text of a request: for each message, for the request, and where it has tools.
PER_MESSAGE, PER_REQUEST, WITH_TOOLS = 16, 64, 600
UNKNOWN_MAX_OUTPUT = 32_768
# What an answer without a cap needs at least to be worth starting.
LEAST_OUTPUT = 4_096
_IMAGE_ESTIMATE, _AUDIO_BYTES_A_TOKEN, _FILE_BYTES_A_TOKEN = 765, 1_600, 4


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


def text_bound(request: Request) -> int:
    """The most tokens that the text of a request can be: its UTF-8 bytes, and what a chat template adds."""
    return request.text_bytes + PER_MESSAGE * request.messages + PER_REQUEST + (WITH_TOOLS if request.has_tools else 0)


def counted_bound(count: int) -> int:
    """The same from a tokenizer's count, with a tenth for the difference between tokenizers."""
    return -(-count * 11 // 10) + PER_REQUEST


def quote(request: Request, model: ModelInfo, rates: Rates, *, text_tokens: int) -> Quote:
    """The bounds of a request whose text is at most `text_tokens`."""
    window = model.context_window
    media = {kind: most * sum(part.kind == kind for part in request.media) for kind, most in model.allowances.items()}
    image, audio, text = media["image"], media["audio"], text_tokens + media["file"]
    if window is not None:
        image = min(image, window)
        audio = min(audio, window - image)
        text = min(text, window - image - audio)
    tokens = text + image + audio
    longest = model.max_output or window or UNKNOWN_MAX_OUTPUT
    most = min(request.cap, longest) if request.cap is not None else longest
    least = most if request.cap is not None else min(LEAST_OUTPUT, longest)
    choices = request.choices if request.output else 0
    made = {feature.unit for feature in request.features}
    fixed = rates.input_numerator(text=text, image=image, audio=audio, hour_cache=request.hour_cache)
    fixed += rates.flat_numerator(request.pieces)
    each = rates.output_numerator(audio="audio_out" in made, image="image_out" in made, input_tokens=tokens)
    return Quote(
        rates=rates,
        input_tokens=tokens,
        fixed=fixed,
        each_output=each,
        choices=choices,
        minimum=rates.nanos(fixed + choices * least * each),
        want=rates.nanos(fixed + choices * most * each),
    )


def estimated_media_tokens(media: list[Media], allowances: dict[str, int]) -> int:
    """Tokens of parts that are not text, for an estimate: what their size suggests, at most the model's allowance."""
    total = 0
    for part in media:
        most = allowances[part.kind]
        if part.kind == "image":
            total += min(most, _IMAGE_ESTIMATE)
        elif part.size is None:
            total += most
        else:
            per = _AUDIO_BYTES_A_TOKEN if part.kind == "audio" else _FILE_BYTES_A_TOKEN
            total += min(most, part.size * 3 // 4 // per + 1)
    return total
