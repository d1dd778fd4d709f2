"""A dialect is a folder, or a file where one is enough. Pure: bytes and numbers in, bytes and numbers out.

No Django, no ORM, no HTTP client. Adding a dialect is its room here, a row in `DIALECTS`, and the endpoints that speak
it in `relay.endpoints`. In every dialect's folder a name means the same: `request` reads what a client sends, `answer`
what an upstream answers; `to_ir` and `from_ir` are the way of requests to the neutral conversation and from it,
`answer_ir` that of whole answers, `decode` and `encode` that of streams; `dialect` ties them together.
"""

from __future__ import annotations

from relay.protocols import images, moderations, rerank
from relay.protocols.anthropic import dialect as anthropic
from relay.protocols.audio import speech, transcriptions
from relay.protocols.base import Dialect, Streaming
from relay.protocols.bedrock import dialect as bedrock
from relay.protocols.chat import dialect as chat
from relay.protocols.embeddings import gemini as gemini_embed
from relay.protocols.embeddings import openai as embeddings
from relay.protocols.gemini import dialect as gemini
from relay.protocols.large_events import LargeSplitter
from relay.protocols.responses import dialect as responses

_IMAGES = Streaming(LargeSplitter, by_body=True)

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        *chat.DIALECTS,
        *anthropic.DIALECTS,
        *gemini.DIALECTS,
        *responses.DIALECTS,
        *bedrock.DIALECTS,
        Dialect("gemini_embed", gemini_embed.parse, gemini_embed.body, gemini_embed.read_answer),
        Dialect("embeddings", embeddings.parse, embeddings.upstream_body, embeddings.read_answer),
        Dialect("rerank", rerank.parse, rerank.upstream_body, rerank.read_answer),
        Dialect("moderations", moderations.parse, moderations.upstream_body, moderations.read_answer),
        Dialect(
            "images",
            images.parse_generation,
            images.upstream_body,
            images.read_answer,
            images.EventReader,
            streaming=_IMAGES,
        ),
        Dialect(
            "image_edits",
            images.parse_edit,
            images.upstream_body,
            images.read_answer,
            images.EventReader,
            streaming=_IMAGES,
        ),
        Dialect("image_variations", images.parse_variation, images.upstream_body, images.read_answer),
        Dialect(
            "speech",
            speech.parse,
            speech.upstream_body,
            speech.read_answer,
            speech.SpeechReader,
            streaming=Streaming(speech.Chunks, content_type=None, by_body=True),
        ),
        Dialect(
            "transcriptions",
            transcriptions.parse_transcription,
            transcriptions.upstream_body,
            transcriptions.read_answer,
            transcriptions.TranscriptReader,
            streaming=Streaming(by_body=True),
        ),
        Dialect(
            "translations",
            transcriptions.parse_translation,
            transcriptions.upstream_body,
            transcriptions.read_answer,
        ),
    )
}
