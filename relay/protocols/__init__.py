"""One file a client dialect. Pure: bytes and numbers in, bytes and numbers out; no Django, no ORM, no HTTP client.

Adding a dialect is its file here, a row in `DIALECTS`, and the endpoints that speak it in `relay.endpoints`.
"""

from __future__ import annotations

from relay.protocols import (
    anthropic,
    anthropic_answer,
    anthropic_count,
    anthropic_ir,
    bedrock_ir,
    completions,
    embeddings,
    gemini,
    gemini_answer,
    gemini_count,
    gemini_embed,
    gemini_ir,
    images,
    moderations,
    openai_chat,
    openai_chat_answer,
    openai_chat_ir,
    openai_responses,
    openai_responses_answer,
    openai_responses_ir,
    rerank,
    speech,
    transcriptions,
)
from relay.protocols.base import Dialect, Streaming, never
from relay.protocols.eventstream import FrameCutter
from relay.protocols.large_events import LargeSplitter

_IMAGES = Streaming(LargeSplitter, by_body=True)

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "chat",
            openai_chat.parse,
            openai_chat.upstream_body,
            openai_chat_answer.read_answer,
            openai_chat_answer.StreamReader,
            openai_chat_ir.CONVERSATION,
        ),
        Dialect(
            "completions",
            completions.parse,
            completions.upstream_body,
            openai_chat_answer.read_answer,
            openai_chat_answer.StreamReader,
        ),
        Dialect(
            "anthropic",
            anthropic.parse,
            anthropic.upstream_body,
            anthropic_answer.read_answer,
            anthropic_answer.StreamReader,
            anthropic_ir.CONVERSATION,
        ),
        Dialect("anthropic_count", anthropic.parse_count, anthropic.upstream_body, anthropic_count.read_answer),
        Dialect(
            "gemini",
            gemini.parse,
            gemini.upstream_body,
            gemini_answer.read_answer,
            gemini_answer.StreamReader,
            gemini_ir.CONVERSATION,
            Streaming(LargeSplitter, content_type=gemini.stream_content_type),
        ),
        Dialect("gemini_count", gemini_count.parse, gemini_count.body, gemini_count.read_answer),
        Dialect("gemini_embed", gemini_embed.parse, gemini_embed.body, gemini_embed.read_answer),
        Dialect(
            "responses",
            openai_responses.parse,
            openai_responses.upstream_body,
            openai_responses_answer.read_answer,
            openai_responses_answer.StreamReader,
            openai_responses_ir.CONVERSATION,
        ),
        Dialect(
            "responses_compact",
            openai_responses.parse_compact,
            openai_responses.compact_body,
            openai_responses_answer.read_compaction,
        ),
        Dialect(
            "bedrock",
            never,
            never,
            never,
            conversation=bedrock_ir.CONVERSATION,
            streaming=Streaming(FrameCutter),
        ),
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
