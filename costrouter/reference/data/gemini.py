"""Gemini's actions on a model."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from costrouter.reference.data import parameters
from costrouter.reference.shapes import Call, Code, Doc, Param, need

_MODELS = ("gemini-3.8-flash", "gemini-2.5-flash", "gemini-2.5-pro")
_EMBEDDERS = ("gemini-embedding-001", "gemini-embedding-2")
_MODEL = need("model", "string", _("Model ID, before the colon."), place="path")
_CONTENTS = (
    need("contents", "array<object>", _("The conversation so far, oldest turn first.")),
    Param("contents[].role", "string", _("Who speaks."), values=("user", "model")),
    need(
        "contents[].parts",
        "array<object>",
        _("text, inlineData (base64), fileData (an https: URL), functionCall, functionResponse."),
    ),
    Param("systemInstruction", "object", _("The system prompt, as parts.")),
    Param("tools", "array<object>", _("functionDeclarations; googleSearch where the model has a price for searches.")),
    Param("toolConfig", "object", _("Whether, and which, functions are called.")),
    Param("safetySettings", "array<object>", _("From which probability of harm on an answer is blocked.")),
    Param("generationConfig.maxOutputTokens", "integer", _("Maximum number of output tokens.")),
    Param(
        "generationConfig.temperature", "number", _("Sampling temperature. Higher values make the output more random.")
    ),
    Param("generationConfig.topP", "number", _("Nucleus sampling: only the likeliest tokens up to this share count.")),
    Param("generationConfig.topK", "number", _("Only so many of the likeliest tokens are considered.")),
    Param("generationConfig.candidateCount", "integer", _("How many answers to make, at most 128. Each is charged.")),
    Param("generationConfig.stopSequences", "array<string>", _("Texts at which the answer ends.")),
    Param("generationConfig.responseMimeType", "string", _("application/json for JSON.")),
    Param("generationConfig.responseSchema", "object", _("The shape of that JSON.")),
    Param("generationConfig.responseModalities", "array<string>", _("TEXT; IMAGE or AUDIO where they have a price.")),
    Param("generationConfig.thinkingConfig", "object", _("How much the model thinks, and whether it shows it.")),
    Param("generationConfig.seed", "integer", _("Asks for the same answer to the same request.")),
)
_ANSWER = (
    Param("candidates", "array<object>", _("The answers.")),
    Param("candidates[].content.parts", "array<object>", _("text, functionCall, inlineData.")),
    Param("candidates[].finishReason", "string", _("STOP, MAX_TOKENS, SAFETY, and others.")),
    Param("promptFeedback", "object", _("Why a prompt was blocked.")),
    Param("usageMetadata.promptTokenCount", "integer", _("Tokens read, cached ones included.")),
    Param("usageMetadata.candidatesTokenCount", "integer", _("Tokens written, without thoughts.")),
    Param("usageMetadata.thoughtsTokenCount", "integer", _("Tokens of thoughts, charged as output.")),
    Param("usageMetadata.cachedContentTokenCount", "integer", _("Of those read, how many came from a cache.")),
    Param("usageMetadata.totalTokenCount", "integer", _("All together.")),
    Param("modelVersion", "string", _("The model that answered, as the upstream calls it.")),
    Param("responseId", "string", _("The answer's ID, as the upstream gave it.")),
)
_HELLO = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
_REPLY = {
    "candidates": [
        {"index": 0, "content": {"role": "model", "parts": [{"text": "Hello!"}]}, "finishReason": "STOP"},
    ],
    "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 3, "totalTokenCount": 5},
    "modelVersion": "gemini-3.8-flash",
    "responseId": "9Kx1aPq7",
}
_ASKED = {"model": Code("MODEL"), "contents": "Hello"}
_NOTES = (
    _("The same under /v1/models, where newer releases of Google's SDK call it."),
    _("cachedContent, tuned models and files of Google's storage name state at the provider, and are refused."),
    parameters.CAPPED,
    parameters.CONVERTED,
)

GENERATE = Doc(
    "gemini.generate",
    _("Generate Content"),
    _("Creates an answer in Gemini's format from text, images, audio and files, with tools and structured output."),
    "Google",
    (_MODEL, *_CONTENTS),
    _ANSWER,
    _REPLY,
    Call("client.models.generate_content", _ASKED, ("print(response.text)",)),
    Call("client.models.generateContent", _ASKED, ("console.log(response.text);",)),
    models=_MODELS,
    request=_HELLO,
    path={"model": _MODELS[0]},
    notes=(_("The cost is in the header x-costrouter-cost."), *_NOTES),
    sdk="google",
)

STREAM = Doc(
    "gemini.stream",
    _("Stream Generate Content"),
    _("The same as Generate Content, sent while it is made."),
    "Google",
    (
        _MODEL,
        Param(
            "alt",
            "string",
            _("sse for server-sent events; else the answer is one JSON array."),
            values=("sse", "json"),
            place="query",
        ),
        *_CONTENTS,
    ),
    _ANSWER,
    [_REPLY],
    Call(
        lines=(
            'stream = client.models.generate_content_stream(model=MODEL, contents="Hello")',
            "for chunk in stream:",
            '    print(chunk.text or "", end="", flush=True)',
        )
    ),
    Call(
        lines=(
            'const stream = await client.models.generateContentStream({ model: MODEL, contents: "Hello" });',
            'for await (const chunk of stream) process.stdout.write(chunk.text ?? "");',
        )
    ),
    models=_MODELS,
    request=_HELLO,
    path={"model": _MODELS[0]},
    query={"alt": "sse"},
    stream=(
        'data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Hel"}]}}],'
        '"modelVersion":"gemini-3.8-flash","responseId":"9Kx1aPq7"}\n\n'
        'data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"lo!"}]},"finishReason":"STOP"}],'
        '"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":3,"totalTokenCount":5},'
        '"modelVersion":"gemini-3.8-flash","responseId":"9Kx1aPq7"}\n\n'
    ),
    notes=(_("A stream has no room for its cost: GET /v1/generation tells it."), *_NOTES),
    sdk="google",
)

COUNT_TOKENS = Doc(
    "gemini.count_tokens",
    _("Count Tokens"),
    _("Counts the tokens of a request in Gemini's format, without making an answer. It is free."),
    "Google",
    (
        _MODEL,
        need("contents", "array<object>", _("What is to be counted.")),
        need("contents[].parts", "array<object>", _("text, inlineData, fileData.")),
    ),
    (Param("totalTokens", "integer", _("Tokens of all contents.")),),
    {"totalTokens": 2},
    Call("client.models.count_tokens", _ASKED, ("print(response.total_tokens)",)),
    Call("client.models.countTokens", _ASKED, ("console.log(response.totalTokens);",)),
    models=_MODELS,
    request=_HELLO,
    path={"model": _MODELS[0]},
    notes=(
        _("Send a whole generateContentRequest instead of contents to count its system prompt and tools too."),
        _("The upstream counts where it can; elsewhere CostRouter does, with a tokenizer of its own."),
    ),
    sdk="google",
)

_CONFIG = (
    Param("taskType", "string", _("What the embedding is for, such as RETRIEVAL_QUERY.")),
    Param("title", "string", _("The title of a document that is to be found.")),
    Param("outputDimensionality", "integer", _("How many numbers an embedding has.")),
)

EMBED = Doc(
    "gemini.embed",
    _("Embed Content"),
    _("Turns one content into an embedding, in Gemini's format."),
    "Google",
    (
        _MODEL,
        need("content", "object", _("What is embedded.")),
        need("content.parts", "array<object>", _("Its parts: text.")),
        *_CONFIG,
    ),
    (Param("embedding.values", "array<number>", _("The embedding.")),),
    {"embedding": {"values": [0.013, -0.008, 0.021]}},
    Call("client.models.embed_content", _ASKED, ("print(len(response.embeddings[0].values))",)),
    Call("client.models.embedContent", _ASKED, ("console.log(response.embeddings[0].values.length);",)),
    models=_EMBEDDERS,
    request={"content": {"parts": [{"text": "Hello"}]}},
    path={"model": _EMBEDDERS[0]},
    notes=(
        _("Google's SDKs call batchEmbedContents even for one content. Any model that makes embeddings works here."),
    ),
    sdk="google",
)

BATCH_EMBED = Doc(
    "gemini.batch_embed",
    _("Batch Embed Contents"),
    _("Turns many contents into embeddings in one request, in Gemini's format."),
    "Google",
    (
        _MODEL,
        need("requests", "array<object>", _("1 to 10,000 requests for an embedding.")),
        Param("requests[].model", "string", _("Ignored: the path names the model.")),
        need("requests[].content", "object", _("What is embedded.")),
        need("requests[].content.parts", "array<object>", _("Its parts: text.")),
        *(Param(f"requests[].{param.name}", param.type, param.about) for param in _CONFIG),
    ),
    (
        Param("embeddings", "array<object>", _("One for each request, in their order.")),
        Param("embeddings[].values", "array<number>", _("The embedding.")),
    ),
    {"embeddings": [{"values": [0.013, -0.008, 0.021]}, {"values": [0.002, 0.017, -0.005]}]},
    Call(
        "client.models.embed_content",
        {"model": Code("MODEL"), "contents": ["Hello", "World"]},
        ("print(len(response.embeddings))",),
    ),
    Call(
        "client.models.embedContent",
        {"model": Code("MODEL"), "contents": ["Hello", "World"]},
        ("console.log(response.embeddings.length);",),
    ),
    models=_EMBEDDERS,
    request={
        "requests": [
            {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "Hello"}]}},
            {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "World"}]}},
        ]
    },
    path={"model": _EMBEDDERS[0]},
    notes=(_("Any model that makes embeddings works here, whichever API its upstream speaks."),),
    sdk="google",
)

DOCS = (GENERATE, STREAM, COUNT_TOKENS, EMBED, BATCH_EMBED)
