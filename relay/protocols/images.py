"""OpenAI images: made from a prompt, or from other images.

Source of the format: `ImageGenerateParams`, `ImageEditParams`, `ImageCreateVariationParams`, `ImagesResponse` and the
image events of the openai 3.54 package. An edit is a form, or the same in JSON with `images`, a list of image URLs.

Images are charged by the piece (`images`) or by their tokens (`image_in`, `image_out`): a price names one or the other.
An answer that tells no tokens is taken to have the most that its size and quality can have, so that it is never free.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Answer, CostOf, Feature, Media, Request
from relay.protocols.fields import Fields, given, model_of, no_deep_nesting, read_object, string, value_of
from relay.protocols.form import files, flag, number
from relay.protocols.large_events import is_whole
from relay.protocols.media_events import MediaEvent, read_event
from relay.protocols.plain_json import (
    add_text,
    add_unknown,
    answer_fields,
    count,
    is_list,
    tier_of,
    upstream_body,
    value_or_none,
    with_cost,
)
from relay.protocols.sse import data_of

__all__ = ["EventReader", "parse_edit", "parse_generation", "parse_variation", "read_answer", "upstream_body"]

MAX_IMAGES = 128
MAX_INPUT_IMAGES = 16
MAX_SIDE = 16_384
MAX_FRAMES = 16
_KNOWN = frozenset(
    {
        *("model", "prompt", "n", "size", "quality", "background", "moderation", "output_format", "output_compression"),
        *("partial_images", "response_format", "style", "stream", "user", "safety_identifier", "complexity", "svg"),
        *("frame_count", "frame_duration_ms", "input_fidelity", "image", "image[]", "images", "mask", "markup"),
        "service_tier",
    }
)
# Tokens of an image, after OpenAI's calculator for gpt-image-2: factor² × (2,000,000 + pixels) / 4,000,000 for a
# square, fewer for any other shape. It is above what the older models need. The factors of the two qualities above
# high are not published; they are taken to double.
_FACTORS = {"low": 24, "medium": 48, "high": 96, "xhigh": 128, "max": 192}
_LARGEST_USUAL = 1536 * 1024
# What the price of one image is for, unless a price of its own says otherwise.
_USUAL_PIXELS, _USUAL_QUALITIES = 1024 * 1024, (None, "auto", "standard", "low", "medium")
MAX_TIER = 20
_PARTIAL_TOKENS = 100
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_BYTES_A_TOKEN = 4


def parse_generation(body: bytes, path: str = "") -> Request:
    """`POST /v1/images/generations`. Raises RelayError."""
    with no_deep_nesting():
        fields = read_object(body)
        request = _parse("images", fields, prompt=True)
        # Some servers make images from others at this endpoint too.
        for name in ("image", "images"):
            value = value_of(fields, name)
            for one in value if isinstance(value, list) else [] if value is None else [value]:
                if not _is_url(one):
                    raise RelayError("invalid_request", f"{name} must be data: or https: URLs.", param=name)
                request.media.append(Media("image"))
        if len(request.media) > MAX_INPUT_IMAGES:
            raise RelayError("invalid_request", f"image must be at most {MAX_INPUT_IMAGES}.", param="image")
        return request


def parse_edit(body: bytes, path: str = "") -> Request:
    """`POST /v1/images/edits`, as a form's description or as JSON. Raises RelayError."""
    with no_deep_nesting():
        fields = read_object(body)
        request = _parse("image_edits", fields, prompt=True)
        sources = [*files(fields, "image"), *files(fields, "image[]"), *files(fields, "images")]
        others = [*files(fields, "mask"), *files(fields, "markup")]
        _add_images(request, sources, others)
        return request


def parse_variation(body: bytes, path: str = "") -> Request:
    """`POST /v1/images/variations`, as a form's description. Raises RelayError."""
    with no_deep_nesting():
        fields = read_object(body)
        request = _parse("image_variations", fields, prompt=False)
        if request.stream:
            raise RelayError("unsupported_field", "stream cannot be relayed: variations are whole.", param="stream")
        _add_images(request, files(fields, "image"), [])
        return request


def _parse(dialect: str, fields: Fields, *, prompt: bool) -> Request:
    images = number(fields, "n", 1, MAX_IMAGES) or 1
    request = Request(
        dialect, fields, model_of(fields), stream=flag(fields, "stream"), output=False, features=tier_of(fields)
    )
    if prompt and not string(fields, "prompt"):
        raise RelayError("invalid_request", "prompt must be a text.", param="prompt")
    add_text(request, value_of(fields, "prompt"))
    add_unknown(request, _KNOWN)
    # A vector drawing is written by a second model, whose tokens are charged beside the image's.
    if given(fields, "svg") or any(name.startswith("svg[") for name in fields):
        request.features.append(Feature("svg"))
    if string(fields, "output_format") == "svg":
        request.features.append(Feature("output_format"))
    size, quality = string(fields, "size"), string(fields, "quality")
    each = _tokens(size, quality)
    if (grander := _grander(size, quality)) is not None:
        request.features.append(grander)
    each *= _frames(fields)
    each += _PARTIAL_TOKENS * (number(fields, "partial_images", 0, 3) or 0)
    request.options = each
    request.pieces = {"image_out": images * each, "images": images}
    return request


def _frames(fields: Fields) -> int:
    """Frames of an animation: 9 unless it says."""
    frames = number(fields, "frame_count", 1, MAX_FRAMES)
    return (frames or 9) if string(fields, "output_format") == "gif" else frames or 1


def _tokens(size: str | None, quality: str | None) -> int:
    """The most output tokens of one image."""
    sides = _SIZE.fullmatch(size or "")
    pixels = int(sides[1]) * int(sides[2]) if sides else _LARGEST_USUAL
    if sides and max(int(sides[1]), int(sides[2])) > MAX_SIDE:
        raise RelayError("invalid_request", f"size has at most {MAX_SIDE:,} pixels a side.", param="size")
    factor = _FACTORS.get(quality or "", _FACTORS["high"])
    return -(-factor * factor * (2_000_000 + pixels) // 4_000_000)


def _grander(size: str | None, quality: str | None) -> Feature | None:
    """A better image than the usual. Charged by the piece, it has a price of its own, whose tier says what it is."""
    sides = _SIZE.fullmatch(size or "")
    large = size if sides and int(sides[1]) * int(sides[2]) > _USUAL_PIXELS else None
    fine = quality if quality not in _USUAL_QUALITIES else None
    if large is None and fine is None:
        return None
    tier = " ".join(part for part in (fine, large) if part)[:MAX_TIER]
    return Feature("size" if fine is None else "quality", tier=tier, of="images")


def _add_images(request: Request, sources: list[Any], others: list[Any]) -> None:
    """Count the images that are read: files of a form, or `{"image_url"}` of a JSON body."""
    if not 1 <= len(sources) <= MAX_INPUT_IMAGES or len(others) > 2:
        raise RelayError("invalid_request", f"image must be 1 to {MAX_INPUT_IMAGES} files.", param="image")
    for one in [*sources, *others]:
        if one.get("file_id"):
            raise RelayError(
                "stored_state",
                "images names a file that is stored upstream, which is not available here; send its data.",
                param="images",
            )
        url = one.get("image_url")
        if url is not None and not _is_url(url):
            raise RelayError("invalid_request", "images: each is a data: or https: URL.", param="images")
        request.media.append(Media("image"))


def _is_url(value: Any) -> bool:
    """Whether a value is a URL that no server reads from its own disk."""
    return isinstance(value, str) and value[:8].lower().startswith(("http://", "https://", "data:"))


def read_answer(body: bytes, request: Request) -> Answer | None:
    """The images; None where the body has none."""
    fields = answer_fields(body)
    if fields is None or not is_list(fields, "data"):
        return None
    try:
        made = len(_Items.decode(fields["data"]))
    except msgspec.DecodeError:
        return None
    if not made:
        return None
    usage = value_or_none(fields, "usage")
    return Answer(_units(usage, made, request), [], partial(with_cost, fields) if usage else lambda units, cost: body)


_Items = msgspec.json.Decoder(list[msgspec.Raw])


def _units(usage: Any, made: int, request: Request) -> dict[str, int]:
    """Units of a `usage`, and the images; what is not told is taken from the request."""
    usage = usage if isinstance(usage, dict) else {}
    read, written = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if read is None or written is None or not written:
        return {
            "input": -(-request.text_bytes // _BYTES_A_TOKEN),
            "image_out": made * request.options,
            "images": made,
        }
    image_in = min(read, _detail(usage, "input_tokens_details", "image_tokens") or 0)
    cached = min(read - image_in, _detail(usage, "input_tokens_details", "cached_tokens") or 0)
    text = min(written, _detail(usage, "output_tokens_details", "text_tokens") or 0)
    return {
        "input": read - image_in - cached,
        "cache_read": cached,
        "image_in": image_in,
        "output": text,
        "image_out": written - text,
        "images": made,
    }


def _detail(usage: dict[str, Any], name: str, inner: str) -> int | None:
    details = usage.get(name)
    return count(details.get(inner)) if isinstance(details, dict) else None


class EventReader:
    """A streamed image: see `relay.protocols.base.Reader`. Partial images go on at once, the last waits."""

    def __init__(self, request: Request, _: CostOf) -> None:
        self._request = request
        self._wanted: int = request.pieces["images"]
        self._held = b""
        self._made = 0
        self._usage: dict[str, int] = {}
        self.started = self.done = self.failed = False
        self.units: dict[str, int] | None = None
        self.texts: list[str] = []

    @property
    def finished(self) -> bool:
        """Whether every image that was asked for is complete. Fewer are told by the end of the body."""
        return self._made >= self._wanted

    def read(self, event: bytes) -> bytes:
        """What of an event goes to the client at once."""
        data = data_of(event)
        if data is None:
            return event
        if data == b"[DONE]":
            self.done = self._made > 0
            self.failed = not self.done
            self._held += event
            return b""
        said = read_event(data) or MediaEvent()
        if said.type == "error":
            self.failed = True
            return b""
        self.started = True
        if said.type not in ("image_generation.completed", "image_edit.completed"):
            return event
        self._made += 1
        for name, quantity in _units(said.usage, 1, self._request).items():
            self._usage[name] = self._usage.get(name, 0) + quantity
        self.units = self._usage
        # What came before may go: only the last image waits for its charge.
        going, self._held = self._held, event
        return going

    def read_rest(self, event: bytes) -> bytes:
        """The body has ended: with as many images as there will be. Half an event is none."""
        going = self.read(event) if is_whole(event) else b""
        self.done = self._made > 0
        return going

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """The last image."""
        return b"", self._held
