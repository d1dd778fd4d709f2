"""OpenAI videos: a request for one, what an upstream tells of it, and the object that a client sees.

Source of the format: `VideoCreateParams`, `VideoRemixParams`, `Video`, `VideoDeleteResponse`, `VideoListParams` and
`SyncConversationCursorPage` of the openai 3.54 package. A request is a form (the SDK always sends one) or JSON.

A video is charged by its seconds, or as one call: a price names one or the other. Seconds are always said to the
upstream where they are charged, so that what is made is what was held for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeGuard
from urllib.parse import quote

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Feature, Media, Request, Target
from relay.protocols.fields import Fields, given, no_deep_nesting, read_object, string, value_of
from relay.protocols.form import number
from relay.protocols.plain_json import add_text, add_unknown, tier_of

_encode = msgspec.json.encode
DEFAULT_MODEL, DEFAULT_SECONDS = "sora-2", 4
MAX_SECONDS, MAX_SIDE = 600, 16_384
# Larger pictures cost more wherever they are sold: they have a price of their own, whose tier is the size.
USUAL_PIXELS = 1366 * 768
MAX_ID = 200
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_KNOWN = frozenset({"model", "prompt", "seconds", "size", "input_reference", "user", "service_tier"})
# Some servers make more, or longer, by these.
_CHARGED = ("n", "n_seconds", "duration", "num_frames", "frames", "fps", "quality", "resolution", "num_outputs")
# What names a thing that is stored upstream, of which nobody knows here whose it is.
_STORED = ("characters", "video", "video_id", "remix_id", "remix_video_id", "remixed_from_video_id")
_REFERENCE = "input_reference"


@dataclass(slots=True)
class Wanted:
    """What a request asks for. `seconds` and `size` are None where it does not say.

    `image_url`: a picture to begin with; `file`: there is one in the form. `action`: the rest of the path upstream.
    """

    prompt: str
    seconds: int | None = None
    size: str | None = None
    image_url: str = ""
    file: bool = False
    action: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What an upstream says of a video. `status`: "queued", "in_progress", "completed" or "failed".

    `asset`: what it is downloaded by, where that is not its id. `error`: (code, message) of one that failed.
    """

    upstream_id: str
    status: str
    progress: int = 0
    seconds: int | None = None
    size: str = ""
    asset: str = ""
    expires_at: int | None = None
    error: tuple[str, str] = ("", "")

    @property
    def finished(self) -> bool:
        return self.status in ("completed", "failed")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error that an upstream reports in an answer of status 200."""

    is_clients: bool
    status: int
    code: str
    message: str


def _no_problem(_: bytes) -> Problem | None:
    return None


@dataclass(frozen=True, slots=True)
class VideoApi:
    """How an upstream's videos are asked for: a row of `relay.videos.apis.APIS`.

    `name`: among its provider's paths. `read`: what an answer says of a video, None where it says nothing of one.
    `status`, `content`: (upstream id, asset, variant) → the call's action; `link`: for one whose content is elsewhere,
    the URL in what `content` answers. `problem`: an error in an answer of status 200. `keeps`: it keeps videos until it
    is told to delete them. `variants`: what `content` can give.
    """

    name: str
    body: Callable[[Request, Target], bytes]
    read: Callable[[bytes], State | None]
    status: Callable[[str], str]
    content: Callable[[str, str, str], str]
    default_seconds: int = DEFAULT_SECONDS
    problem: Callable[[bytes], Problem | None] = _no_problem
    link: Callable[[bytes], str | None] | None = None
    keeps: bool = True
    variants: frozenset[str] = field(default_factory=lambda: frozenset({"video"}))


def parse(body: bytes, path: str = "") -> Request:
    """`POST /v1/videos`, as JSON or a form's description. Raises RelayError."""
    with no_deep_nesting():
        fields = read_object(body)
        wanted = Wanted(_prompt(fields), number(fields, "seconds", 1, MAX_SECONDS), _size(fields), *_reference(fields))
        model = string(fields, "model") or DEFAULT_MODEL
        return _request(fields, model, wanted, _CHARGED)


def parse_remix(body: bytes, *, model: str, upstream_id: str) -> Request:
    """`POST /v1/videos/{id}/remix`: a new prompt for a video of this model. Raises RelayError."""
    with no_deep_nesting():
        fields = read_object(body)
        wanted = Wanted(_prompt(fields), action=f"{segment(upstream_id)}/remix")
        return _request(fields, model, wanted, (*_CHARGED, "seconds", "size", "model"))


def _request(fields: Fields, model: str, wanted: Wanted, charged: tuple[str, ...]) -> Request:
    for name in fields:
        if name.partition("[")[0] in _STORED:
            raise _stored(name)
    request = Request("videos", fields, model, output=False, options=wanted)
    add_text(request, wanted.prompt)
    add_unknown(request, _KNOWN)
    request.features = tier_of(fields) + [Feature(name) for name in charged if given(fields, name)]
    if wanted.file or wanted.image_url:
        request.media.append(Media("image"))
    return request


def _prompt(fields: Fields) -> str:
    prompt = string(fields, "prompt")
    if not prompt:
        raise RelayError("invalid_request", "prompt must be a text.", param="prompt")
    return prompt


def _size(fields: Fields) -> str | None:
    size = string(fields, "size")
    if size is not None and pixels(size) is None:
        raise RelayError(
            "invalid_request", f"size must be WIDTHxHEIGHT, of at most {MAX_SIDE:,} pixels a side.", param="size"
        )
    return size


def pixels(size: str) -> int | None:
    """How many a size has; None where it is none."""
    sides = _SIZE.fullmatch(size)
    if sides is None or not 0 < int(sides[1]) <= MAX_SIDE or not 0 < int(sides[2]) <= MAX_SIDE:
        return None
    return int(sides[1]) * int(sides[2])


def _reference(fields: Fields) -> tuple[str, bool]:
    """The picture to begin with: (its URL, whether it is a file of the form)."""
    found = value_of(fields, _REFERENCE)
    nested = {name[len(_REFERENCE) + 1 : -1]: value_of(fields, name) for name in fields if _is_nested(name)}
    if (found is not None and nested) or not isinstance(found, dict | None):
        raise RelayError("invalid_request", f"{_REFERENCE} must be a file, or an object.", param=_REFERENCE)
    said: dict[str, Any] = found or nested
    if "file_id" in said:
        raise _stored(_REFERENCE)
    if not said or "filename" in said:
        return "", bool(said)
    url = said.get("image_url")
    if not isinstance(url, str) or not url:
        raise RelayError("invalid_request", f"{_REFERENCE} must have an image_url.", param=_REFERENCE)
    return url, False


def _is_nested(name: str) -> bool:
    return name.startswith(_REFERENCE + "[") and name.endswith("]")


def _stored(name: str) -> RelayError:
    return RelayError(
        "stored_state", f"{name} names something that is stored upstream, which is not available here.", param=name
    )


def upstream_body(request: Request, target: Target) -> bytes:
    """The request as it was sent, with the model's name there, and its seconds where they are charged."""
    if request.options.action:
        return _encode(request.fields)
    said = {"model": msgspec.Raw(_encode(target.model))}
    if "seconds" in request.pieces and not given(request.fields, "seconds"):
        said["seconds"] = msgspec.Raw(_encode(str(request.pieces["seconds"])))
    return _encode({**request.fields, **said})


_STATUSES = {
    "queued": "queued",
    "pending": "queued",
    "completed": "completed",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "failed",
    "canceled": "failed",
    "expired": "failed",
}


def read_video(body: bytes) -> State | None:
    """What a Video object says; None where the body is none. A status that nobody knows is one of progress."""
    found = read_any(body)
    if found is None:
        return None
    upstream_id, status = found.get("id"), found.get("status")
    if not is_id(upstream_id) or not isinstance(status, str):
        return None
    size = found.get("size")
    return State(
        upstream_id,
        _STATUSES.get(status, "in_progress"),
        whole(found.get("progress"), 0, 100) or 0,
        whole(found.get("seconds"), 1, MAX_SECONDS),
        size if isinstance(size, str) and pixels(size) is not None else "",
        expires_at=whole(found.get("expires_at"), 1, 1 << 40),
        error=_error(found.get("error")),
    )


def is_id(value: Any) -> TypeGuard[str]:
    """Whether an upstream's id is one that can be kept and asked for."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isprintable()


def _error(value: Any) -> tuple[str, str]:
    if isinstance(value, str):
        return "video_failed", text(value, 500)
    if not isinstance(value, dict):
        return "", ""
    return text(value.get("code"), 60), text(value.get("message"), 500)


def read_any(body: bytes) -> dict[str, Any] | None:
    """A body that is a JSON object; None where it is none."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def whole(value: Any, least: int, most: int) -> int | None:
    """A whole number that an upstream told, rounded up, in digits or as one; None where it is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        return None
    return -int(-value // 1)


def text(value: Any, most: int) -> str:
    """A text that an upstream told, as every database can keep it."""
    if not isinstance(value, str):
        return ""
    return value[:most].encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def segment(upstream_id: str) -> str:
    """An upstream's id as part of a path or a query."""
    return quote(upstream_id, safe="")


def _status(upstream_id: str) -> str:
    return segment(upstream_id)


def _content(upstream_id: str, asset: str, variant: str) -> str:
    path = f"{segment(upstream_id)}/content"
    return path if variant == "video" else f"{path}?variant={variant}"


API = VideoApi(
    "videos",
    upstream_body,
    read_video,
    _status,
    _content,
    variants=frozenset({"video", "thumbnail", "spritesheet"}),
)
