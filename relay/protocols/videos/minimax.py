"""MiniMax's videos (Hailuo), asked for in OpenAI's words.

Source of the format: MiniMax's API reference, "Video Generation" (`POST /v1/video_generation`, `GET
/v1/query/video_generation`), "File Management" (`GET /v1/files/retrieve`) and "Error Codes": a task has an id, a task
that succeeded a file, a file a URL to download it from for some hours. Errors come with status 200, in `base_resp`.
"""

from __future__ import annotations

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.base import Request, Target
from relay.protocols.fields import given
from relay.protocols.videos.openai import Problem, State, VideoApi, Wanted, is_id, read_any, segment, text, whole

WHERE = "MiniMax"
# It makes videos of 6 seconds unless it is told otherwise.
DEFAULT_SECONDS = 6
_SECONDS = (6, 10)
# Only its height is chosen; the width follows from the picture a video begins with, else it is 16:9.
_RESOLUTIONS = {"1280x720": "720P", "1366x768": "768P", "1376x768": "768P", "1920x1080": "1080P"}
_EXPRESSED = frozenset({"model", "prompt", "seconds", "size", "input_reference", "user"})
_STATUSES = {
    "preparing": ("queued", 0),
    "queueing": ("queued", 0),
    "processing": ("in_progress", 50),
    "success": ("completed", 100),
    "fail": ("failed", 0),
}
# Codes of the client's own errors: sensitive words, a sensitive video, unreadable characters, wrong parameters.
_CLIENTS = {1026: "content_policy_violation", 1027: "content_policy_violation", 1042: "", 2013: ""}
# Too many requests, or more than the account's plan.
_TOO_MANY = frozenset({1002, 1039, 1041, 2045, 2056})


def body(request: Request, target: Target) -> bytes:
    """The request as MiniMax has it. Raises RelayError for what it cannot express.

    A picture of a form must have become a data URL by now (`Wanted.image_url`).
    """
    wanted: Wanted = request.options
    if wanted.action:
        raise RelayError("unsupported_endpoint", f"{request.model} cannot be remixed.", param="model")
    for name in request.fields:
        if name.partition("[")[0] not in _EXPRESSED and given(request.fields, name):
            raise ir.unsupported(name, WHERE)
    seconds = wanted.seconds or DEFAULT_SECONDS
    if seconds not in _SECONDS:
        raise RelayError("unsupported_field", "seconds must be 6 or 10 for this model's upstream.", param="seconds")
    said: dict[str, object] = {"model": target.model, "prompt": wanted.prompt, "duration": seconds}
    if wanted.size is not None:
        if wanted.size not in _RESOLUTIONS:
            raise ir.unsupported("size", WHERE)
        said["resolution"] = _RESOLUTIONS[wanted.size]
    if wanted.image_url:
        said["first_frame_image"] = wanted.image_url
    return msgspec.json.encode(said)


def problem(answer: bytes) -> Problem | None:
    """What an answer says went wrong, whatever its HTTP status; None where nothing did."""
    found = read_any(answer)
    base = found.get("base_resp") if found is not None else None
    code = whole(base.get("status_code"), 0, 1 << 31) if isinstance(base, dict) else None
    if not code or not isinstance(base, dict):
        return None
    message = text(base.get("status_msg"), 500) or f"error {code}"
    if code in _CLIENTS:
        return Problem(True, 400, _CLIENTS[code] or "invalid_request", message)
    return Problem(False, 429 if code in _TOO_MANY else 502, str(code), message)


def read(answer: bytes) -> State | None:
    """What a new task, or one that was queried, says; None where the body says nothing of one."""
    found = read_any(answer)
    if found is None:
        return None
    task, status = _id(found.get("task_id")), found.get("status")
    if not task:
        return None
    if status is None:
        return None if problem(answer) else State(task, "queued")
    if not isinstance(status, str):
        return None
    known, progress = _STATUSES.get(status.lower(), ("in_progress", 50))
    asset = _id(found.get("file_id"))
    if known == "completed" and not asset:
        known, progress = "in_progress", 99  # its file is not there yet
    wide, high = (whole(found.get(name), 1, 100_000) for name in ("video_width", "video_height"))
    wrong = problem(answer) if known == "failed" else None
    return State(
        task,
        known,
        progress,
        size=f"{wide}x{high}" if wide and high else "",
        asset=asset,
        error=(wrong.code, wrong.message) if wrong else ("video_failed", "The upstream could not make this video."),
    )


def link(answer: bytes) -> str | None:
    """Where a file can be downloaded from."""
    found = read_any(answer)
    file = found.get("file") if found is not None else None
    url = file.get("download_url") if isinstance(file, dict) else None
    return url if isinstance(url, str) and url else None


def _id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        value = str(value)
    return value if is_id(value) else ""


def _status(task: str) -> str:
    return f"query/{segment(task)}"


def _content(_: str, file: str, __: str) -> str:
    return f"file/{segment(file)}"


API = VideoApi(
    "videos_minimax",
    body,
    read,
    _status,
    _content,
    default_seconds=DEFAULT_SECONDS,
    problem=problem,
    link=link,
    keeps=False,
)
