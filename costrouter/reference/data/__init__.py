"""THE tables of the docs: one file a category, one row an endpoint, joined here by the endpoint's name."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from costrouter.reference.data import (
    account,
    anthropic,
    audio,
    chat,
    gemini,
    images,
    models,
    responses,
    vectors,
    video,
)
from costrouter.reference.shapes import Doc, Text

DOCS: dict[str, Doc] = {
    doc.name: doc
    for module in (chat, responses, anthropic, gemini, vectors, images, audio, video, models, account)
    for doc in module.DOCS
}


@dataclass(frozen=True, slots=True)
class Category:
    """A category of `relay.endpoints`: its name there, its anchor, its title and what it is for."""

    name: str
    slug: str
    title: Text
    about: Text


CATEGORIES: tuple[Category, ...] = (
    Category("Chat", "chat", _("Chat"), _("Text from conversations, in OpenAI's formats.")),
    Category("Anthropic", "anthropic", _("Anthropic"), _("The Messages API of Claude's clients.")),
    Category("Gemini", "gemini", _("Gemini"), _("The API of Google's clients.")),
    Category(
        "Embeddings, rerank, moderation",
        "vectors",
        _("Embeddings, rerank, moderation"),
        _("Vectors for search, the order of what was found, and whether a text is harmful."),
    ),
    Category("Images", "images", _("Images"), _("Made from prompts and from other images.")),
    Category("Audio", "audio", _("Audio"), _("Speech from text, and text from speech.")),
    Category("Video", "video", _("Video"), _("Made in the background: ask, look, download.")),
    Category("Models and realtime", "models", _("Models and realtime"), _("What you can use, and speech both ways.")),
    Category("Account", "account", _("Account"), _("What a key may ask of its own organization. Free.")),
)
# Beside the models' own: not counted among their endpoints.
ACCOUNT = "Account"
