"""Embeddings by the clients that have them: OpenAI's and Google's, on upstreams of either."""

from __future__ import annotations

import base64
import json
import struct

import openai
import pytest
from google import genai
from google.genai import types

from tests.doubles.upstream import json_reply

pytestmark = pytest.mark.any_database

TEXTS = ["one text", "and another"]
VECTORS = [[0.5, -0.25, 1.0], [0.0, 2.0, -4.0]]
# 7 tokens at 3 USD a million.
COST = 7 * 3_000


def packed(vector):
    return base64.b64encode(struct.pack("<3f", *vector)).decode()


def of_openai(vectors):
    data = [{"object": "embedding", "index": number, "embedding": vector} for number, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    return {"object": "list", "data": data, "model": "gpt-double", "usage": usage}


OF_GEMINI = {
    "embeddings": [{"values": vector} for vector in VECTORS],
    "usageMetadata": {"promptTokenCount": 7, "promptTokenDetails": [{"modality": "TEXT", "tokenCount": 7}]},
}


def by_openai(relay, world, model, **options):
    with openai.OpenAI(base_url=f"{relay.url}/v1", api_key=world.secret, max_retries=0) as sdk:
        answer = sdk.embeddings.create(model=model, input=TEXTS, **options)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (7, 7)
    assert [one.index for one in answer.data] == [0, 1]
    return [one.embedding for one in answer.data]


def by_google(relay, world, model, **options):
    sdk = genai.Client(api_key=world.secret, http_options=types.HttpOptions(base_url=relay.url))
    config = types.EmbedContentConfig(output_dimensionality=options.get("dimensions"))
    # Of one list of strings it makes one content of many parts, and so one embedding, where a model is called Gemini.
    each = [types.Content(role="user", parts=[types.Part.from_text(text=text)]) for text in TEXTS]
    answer = sdk.models.embed_content(model=model, contents=each, config=config)
    sdk.close()
    return [one.values for one in answer.embeddings]


def requests(role):
    asked = [{"content": {"parts": [{"text": text}], **role}, "outputDimensionality": 3} for text in TEXTS]
    return {"requests": [{**one, "model": "models/gemini-3-double"} for one in asked]}


OPENAIS = {"model": "gpt-double", "input": TEXTS, "dimensions": 3}
BATCH = "/v1beta/models/gemini-3-double:batchEmbedContents"
# client-upstream → how it is asked, where, what the upstream answers, at which path, and what it is asked.
ROWS = {
    "openai-openai": (
        *(by_openai, "chat", of_openai([packed(vector) for vector in VECTORS])),
        *("/v1/embeddings", {**OPENAIS, "encoding_format": "base64"}),
    ),
    "openai-gemini": (by_openai, "gemini", OF_GEMINI, BATCH, requests({})),
    "google-google": (by_google, "gemini", OF_GEMINI, BATCH, requests({"role": "user"})),
    "google-openai": (
        *(by_google, "chat", of_openai(VECTORS)),
        *("/v1/embeddings", {**OPENAIS, "encoding_format": "float"}),
    ),
}


def test_embeddings(world, relay, everywhere, subtests):
    for name, (call, upstream, answer, path, body) in ROWS.items():
        with subtests.test(name):
            double = everywhere[upstream]
            double.seen.clear()
            double.script.append(json_reply(answer))
            assert call(relay, world, f"to-{upstream}", dimensions=3) == VECTORS
            [seen] = double.seen
            assert (seen.path, json.loads(seen.body)) == (path, body)
    records = [(record.status, record.units, record.cost_nanos) for record in world.records()]
    assert records == [("ok", {"input": 7}, COST)] * len(ROWS)
    assert world.prove()["charged_nanos"] == COST * len(ROWS)
