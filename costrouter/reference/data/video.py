"""Videos: jobs that are asked for, looked at, downloaded, deleted and varied."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from costrouter.reference.shapes import Binary, Call, Doc, Param, need

_ID = "video_0192f3a4b5c6d7e8f901a2b3c4d5e6f7"
_PATH = need("id", "string", _("The video's ID, as Create Video answered it."), place="path")
_VIDEO = {
    "id": _ID,
    "object": "video",
    "created_at": 1790000000,
    "status": "queued",
    "model": "MiniMax-Hailuo-2.3",
    "progress": 0,
    "prompt": "A cat on a wall",
    "seconds": "6",
    "size": "1280x720",
    "completed_at": None,
    "expires_at": None,
    "remixed_from_video_id": None,
    "error": None,
}
_DONE = {**_VIDEO, "status": "completed", "progress": 100, "completed_at": 1790000090, "expires_at": 1790086400}
_FIELDS = (
    Param("id", "string", _("The video's ID. CostRouter gives it.")),
    Param("object", "string", _("Always video.")),
    Param("status", "string", _("How far it is."), values=("queued", "in_progress", "completed", "failed")),
    Param("progress", "integer", _("The same from 0 to 100.")),
    Param("model", "string", _("The model that you asked for.")),
    Param("prompt", "string", _("The prompt.")),
    Param("seconds", "string", _("How long it is.")),
    Param("size", "string", _("WIDTHxHEIGHT.")),
    Param("created_at", "integer", _("When it was asked for, in seconds since 1970.")),
    Param("completed_at", "integer | null", _("When it was made.")),
    Param("expires_at", "integer | null", _("Until when it can be downloaded.")),
    Param("remixed_from_video_id", "string | null", _("The video that it was made from.")),
    Param("error", "object | null", _("Why it could not be made: code and message.")),
)
_MODELS = ("MiniMax-Hailuo-2.3", "sora-2", "sora-2-pro")
_PROMPT = need("prompt", "string", _("What happens in it."))
_OWN = _("Videos are your organization's: others' IDs answer 404.")


def _one(method: str, *after: str) -> Call:
    return Call(method, {"": _ID}, after)


CREATE = Doc(
    "videos.create",
    _("Create Video"),
    _("Asks for a video, which is made in the background; it is charged once it is made."),
    "OpenAI, MiniMax",
    (
        Param("model", "string", _("Model ID; sora-2 where it is not said.")),
        _PROMPT,
        Param("seconds", "string", _("How long it shall be. Models offer few lengths, such as 6 or 10.")),
        Param("size", "string", _("WIDTHxHEIGHT. What is larger than 1366x768 has a price of its own.")),
        Param(
            "input_reference",
            "file | object",
            _("A picture to begin with: a file of a form, or an object with an image_url."),
        ),
    ),
    _FIELDS,
    _VIDEO,
    Call(
        "client.videos.create",
        after=("print(response.id, response.status)",),
    ),
    Call("client.videos.create", after=("console.log(response.id, response.status);",)),
    models=_MODELS,
    request={"model": _MODELS[0], "prompt": "A cat on a wall", "seconds": "6", "size": "1280x720"},
    notes=(
        _(
            "OpenAI announced the end of its own video service for September 2026; other upstreams speak its "
            "format too."
        ),
        _("A form (multipart/form-data) works as well as JSON, and is the only way to send a file."),
        _("Charged by the second, or by the call, as the model's price says. A video that fails costs nothing."),
        _(
            "Other fields that make more or longer videos (n, duration, fps, resolution) are refused: they "
            "have no price."
        ),
    ),
)

LIST = Doc(
    "videos.list",
    _("List Videos"),
    _("Lists your organization's videos, the newest first."),
    "OpenAI, MiniMax",
    (
        Param("limit", "integer", _("How many, from 0 to 100; 20 where it is not said."), place="query"),
        Param("after", "string", _("Those after the video of this ID."), place="query"),
        Param("order", "string", _("Oldest or newest first."), values=("asc", "desc"), place="query"),
    ),
    (
        Param("object", "string", _("Always list.")),
        Param("data", "array<object>", _("The videos.")),
        Param("has_more", "boolean", _("Whether there are more.")),
        Param("first_id", "string | null", _("The first video's ID.")),
        Param("last_id", "string | null", _("The last video's ID: after of the next page.")),
    ),
    {"object": "list", "data": [_DONE], "has_more": False, "first_id": _ID, "last_id": _ID},
    Call("client.videos.list", {"limit": 5}, ("for video in response:", "    print(video.id, video.status)")),
    Call(
        "client.videos.list",
        {"limit": 5},
        ("for await (const video of response) console.log(video.id, video.status);",),
    ),
    query={"limit": "5"},
    notes=(_OWN,),
)

GET = Doc(
    "videos.get",
    _("Get Video"),
    _("Shows how far a video is."),
    "OpenAI, MiniMax",
    (_PATH,),
    _FIELDS,
    _DONE,
    _one("client.videos.retrieve", "print(response.status, response.progress)"),
    _one("client.videos.retrieve", "console.log(response.status, response.progress);"),
    path={"id": _ID},
    notes=(_("Ask every few seconds until status is completed or failed."), _OWN),
)

CONTENT = Doc(
    "videos.content",
    _("Download Video"),
    _("Downloads a video that is completed."),
    "OpenAI, MiniMax",
    (
        _PATH,
        Param(
            "variant",
            "string",
            _("What to download; not every upstream has all of them."),
            values=("video", "thumbnail", "spritesheet"),
            place="query",
        ),
        Param("range", "string", _("A part of it, as in bytes=0-1023."), place="header"),
    ),
    (),
    Binary("video/mp4"),
    _one("client.videos.download_content", 'response.write_to_file("video.mp4")'),
    Call(
        "client.videos.downloadContent",
        {"": _ID},
        ('fs.writeFileSync("video.mp4", Buffer.from(await response.arrayBuffer()));',),
        ('import fs from "node:fs";',),
    ),
    path={"id": _ID},
    save_as="video.mp4",
    notes=(_("The provider deletes videos after a while: see expires_at."), _OWN),
)

DELETE = Doc(
    "videos.delete",
    _("Delete Video"),
    _("Deletes a video that has ended, here and at the provider."),
    "OpenAI, MiniMax",
    (_PATH,),
    (
        Param("id", "string", _("The video's ID.")),
        Param("object", "string", _("Always video.deleted.")),
        Param("deleted", "boolean", _("Always true.")),
    ),
    {"id": _ID, "object": "video.deleted", "deleted": True},
    _one("client.videos.delete", "print(response.deleted)"),
    _one("client.videos.delete", "console.log(response.deleted);"),
    path={"id": _ID},
    notes=(_("One that is still being made cannot be deleted. What was made stays charged."), _OWN),
)

REMIX = Doc(
    "videos.remix",
    _("Remix Video"),
    _("Asks for a new video from one that is completed, with another prompt."),
    "OpenAI",
    (_PATH, _PROMPT),
    _FIELDS,
    {**_VIDEO, "prompt": "The same, at night", "remixed_from_video_id": _ID},
    Call("client.videos.remix", {"": _ID, "prompt": "The same, at night"}, ("print(response.id)",)),
    Call("client.videos.remix", {"": _ID, "prompt": "The same, at night"}, ("console.log(response.id);",)),
    path={"id": _ID},
    request={"prompt": "The same, at night"},
    notes=(_("Model, seconds and size are those of the first video, and so is the price."), _OWN),
)

DOCS = (CREATE, LIST, GET, CONTENT, DELETE, REMIX)
