"""Images: made, edited, varied."""

from __future__ import annotations

import json
from typing import Any

from django.utils.translation import gettext_lazy as _

from costrouter.reference.data import parameters
from costrouter.reference.shapes import Call, Code, Doc, File, Param, need

_MODELS = ("gpt-image-2", "gpt-image-1.5", "gpt-image-1-mini")
_PNG = File("photo.png", "image/png")
# As long as a PNG's signature: real ones are longer.
_IMAGE = "iVBORw0KGgo="
_SIZE = Param("size", "string", _("WIDTHxHEIGHT, or auto. What is larger than 1024x1024 may have a price of its own."))
_N = Param("n", "integer", _("How many images to make, at most 128. Each is charged."))
_LOOKS = (
    _N,
    _SIZE,
    Param(
        "quality",
        "string",
        _("Better ones may have a price of their own."),
        values=("auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"),
    ),
    Param("background", "string", _("Whether it can be seen through."), values=("auto", "transparent", "opaque")),
    Param("output_format", "string", _("The format of the image."), values=("png", "jpeg", "webp", "gif")),
    Param("output_compression", "integer", _("For jpeg and webp: from 0 to 100.")),
    Param("partial_images", "integer", _("While it streams: how many unfinished images to send, at most 3.")),
    parameters.STREAM,
    Param("response_format", "string", _("For older models: a link, or base64."), values=("url", "b64_json")),
    parameters.USER,
)
_FIELDS = (
    parameters.CREATED,
    Param("data", "array<object>", _("The images.")),
    Param("data[].b64_json", "string", _("The image, base64.")),
    Param("data[].url", "string", _("A link to it, where response_format asked for one.")),
    Param("data[].revised_prompt", "string", _("The prompt as the model understood it.")),
    Param("usage", "object", _("Token usage statistics, where the model counts tokens.")),
    Param("usage.input_tokens", "integer", _("Tokens read.")),
    Param("usage.output_tokens", "integer", _("Tokens of the image.")),
    Param("usage.total_tokens", "integer", _("Both together.")),
    parameters.COST,
)
_NOTES = (
    _("Charged by the image, or by tokens, as the model's price says. Only channels that speak this API serve it."),
    parameters.ANSWER_HEADERS,
)


def _usage(read: int, image_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "input_tokens_details": {"text_tokens": read - image_tokens, "image_tokens": image_tokens},
        "output_tokens": 1056,
        "total_tokens": read + 1056,
    }


def _answer(read: int, image_tokens: int) -> dict[str, Any]:
    return {
        "created": 1790000000,
        "data": [{"b64_json": _IMAGE}],
        "usage": {**_usage(read, image_tokens), "cost": 0.0423},
    }


def _event(kind: str, **said: Any) -> str:
    looks = {"size": "1024x1024", "quality": "low", "background": "opaque", "output_format": "png"}
    data = {"type": kind, "b64_json": _IMAGE, "created_at": 1790000000, **looks, **said}
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


_PY_SAVE = (
    'with open("image.png", "wb") as file:',
    "    file.write(base64.b64decode(response.data[0].b64_json))",
)
_JS_SAVE = ('fs.writeFileSync("image.png", Buffer.from(response.data[0].b64_json, "base64"));',)

GENERATIONS = Doc(
    "images.generations",
    _("Create Image"),
    _("Makes images from a prompt, whole or streamed as they take shape."),
    "OpenAI",
    (
        parameters.MODEL,
        need("prompt", "string", _("What to see.")),
        *_LOOKS,
        Param("moderation", "string", _("How strictly prompts are judged."), values=("auto", "low")),
    ),
    _FIELDS,
    _answer(9, 0),
    Call("client.images.generate", after=_PY_SAVE, imports=("import base64",)),
    Call("client.images.generate", after=_JS_SAVE, imports=('import fs from "node:fs";',)),
    models=_MODELS,
    request={"model": _MODELS[0], "prompt": "A lighthouse at dawn", "size": "1024x1024", "quality": "low"},
    stream=(
        _event("image_generation.partial_image", partial_image_index=0)
        + _event("image_generation.completed", usage=_usage(9, 0))
    ),
    notes=_NOTES,
)

EDITS = Doc(
    "images.edits",
    _("Create Image Edit"),
    _("Makes images from images: changes them, or joins several."),
    "OpenAI",
    (
        parameters.MODEL,
        need("image", "file | array<file>", _("1 to 16 images; several as image[].")),
        need("prompt", "string", _("What to change.")),
        Param("mask", "file", _("A PNG whose clear parts say where to change the first image.")),
        *_LOOKS,
        Param("input_fidelity", "string", _("How closely faces and details are kept."), values=("high", "low")),
    ),
    _FIELDS,
    _answer(50, 40),
    Call(
        "client.images.edit",
        {"model": Code("MODEL"), "image": Code('open("photo.png", "rb")'), "prompt": "Make it winter"},
        _PY_SAVE,
        ("import base64",),
    ),
    Call(
        "client.images.edit",
        {
            "model": Code("MODEL"),
            "image": Code('await toFile(fs.createReadStream("photo.png"), "photo.png", { type: "image/png" })'),
            "prompt": "Make it winter",
        },
        _JS_SAVE,
        ('import fs from "node:fs";', 'import { toFile } from "openai";'),
    ),
    models=_MODELS,
    request={"model": _MODELS[0], "image": _PNG, "prompt": "Make it winter"},
    form=True,
    stream=_event("image_edit.completed", usage=_usage(50, 40)),
    notes=(_("JSON works too, with images: a list of objects with an image_url."), *_NOTES),
)

VARIATIONS = Doc(
    "images.variations",
    _("Create Image Variation"),
    _("Makes images that resemble one."),
    "OpenAI",
    (
        parameters.MODEL,
        need("image", "file", _("The image to vary: a square PNG.")),
        _N,
        _SIZE,
        Param("response_format", "string", _("A link, or base64."), values=("url", "b64_json")),
        parameters.USER,
    ),
    (
        parameters.CREATED,
        Param("data", "array<object>", _("The images.")),
        Param("data[].url", "string", _("A link to it.")),
        Param("data[].b64_json", "string", _("The image, base64, where response_format asked for it.")),
    ),
    {"created": 1790000000, "data": [{"url": "https://images.example/variation.png"}]},
    Call(
        "client.images.create_variation",
        {"model": Code("MODEL"), "image": Code('open("photo.png", "rb")')},
        ("print(response.data[0].url)",),
    ),
    Call(
        "client.images.createVariation",
        {"model": Code("MODEL"), "image": Code('fs.createReadStream("photo.png")')},
        ("console.log(response.data[0].url);",),
        ('import fs from "node:fs";',),
    ),
    models=("dall-e-2",),
    request={"model": "dall-e-2", "image": _PNG},
    form=True,
    notes=(
        _("OpenAI has retired its own model for it; other servers of this API still offer some. It is not streamed."),
        *_NOTES,
    ),
)

DOCS = (GENERATIONS, EDITS, VARIATIONS)
