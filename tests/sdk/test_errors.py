"""What goes wrong, as each official client tells its user: its own exception, our status, words and code."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import product
from typing import Any

import anthropic
import openai
import pytest
from google.genai import errors

from tests.cast.waiting import eventually
from tests.doubles.upstream import json_reply, sse_reply
from tests.sdk.clients import CLIENTS, StreamFailed
from tests.sdk.mind import Facts, Said

pytestmark = pytest.mark.any_database

HELLO = "Hello there, Zoë! 🌍"
# How each client tells that a stream was cut.
CUTS: dict[str, type[Exception]] = {
    "chat": openai.APIError,
    "responses": StreamFailed,
    "anthropic": anthropic.APIStatusError,
    "gemini": errors.APIError,
}
CUT = "The upstream failed before it had finished; this answer is not charged."
# Each client's exceptions by status.
RAISED: dict[str, dict[int, type[Exception]]] = {
    module: {
        400: sdk.BadRequestError,
        401: sdk.AuthenticationError,
        403: sdk.PermissionDeniedError,
        404: sdk.NotFoundError,
        502: sdk.InternalServerError,
    }
    for module, sdk in (("openai", openai), ("anthropic", anthropic))
} | {"gemini": {400: errors.ClientError, 401: errors.ClientError, 403: errors.ClientError, 404: errors.ClientError}}
RAISED["gemini"][502] = errors.ServerError
SDKS = {"chat": "openai", "responses": "openai", "anthropic": "anthropic", "gemini": "gemini"}
# The type (or Google's status) of an error in each family's words.
TYPES = {
    "openai": {400: "invalid_request_error", 401: "authentication_error", 403: "insufficient_quota"},
    "anthropic": {400: "invalid_request_error", 401: "authentication_error", 403: "billing_error"},
    "gemini": {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"},
}
TYPES["openai"] |= {404: "invalid_request_error", 502: "upstream_error"}
TYPES["anthropic"] |= {404: "not_found_error", 502: "api_error"}
TYPES["gemini"] |= {404: "NOT_FOUND", 502: "UNAVAILABLE"}


# What the doubles' own errors are called.
CODES = {
    "chat": "BAD_DOUBLE",
    "responses": "BAD_DOUBLE",
    "anthropic": "INVALID_REQUEST_ERROR",
    "gemini": "INVALID_ARGUMENT",
}


@dataclass
class Told:
    """An error as its client tells it. `code` is in capitals: Google's reasons are."""

    status: int
    message: str
    kind: str
    code: str


def told(error: Any) -> Told:
    """What an exception of any client says."""
    if isinstance(error, openai.APIStatusError):
        return Told(error.status_code, error.body["message"], error.type, error.code.upper())
    if isinstance(error, anthropic.APIStatusError):
        inside = error.body["error"]
        return Told(error.status_code, inside["message"], inside["type"], inside["details"]["error_code"].upper())
    [detail] = error.details["error"]["details"]
    return Told(error.code, error.message, error.status, detail["reason"])


def asked(relay, client, key, model, **options):
    """The exception of a call."""
    sdk = CLIENTS[client](relay.url, key, model, stream=False)
    if options.get("retries"):
        sdk.sdk = sdk.sdk.with_options(max_retries=2) if client != "gemini" else sdk.sdk
    with pytest.raises(Exception) as raised:  # noqa: PT011  (its type is what the tests assert)
        sdk.create()
    sdk.close()
    return raised.value


def test_errors_of_our_own(world, relay, everywhere, subtests):
    for client, family in SDKS.items():
        model = f"to-{client}"
        everywhere[client].script.append(json_reply({"error": "down"}, 500))
        rows = [
            ("sk-wrong", model, 401, "invalid_api_key", "Incorrect API key provided."),
            (world.secret, "nothing", 404, "model_not_found", "nothing"),
            (world.secret, model, 502, "upstream_error", "The upstream failed to answer this request."),
            (world.bobs_secret, model, 403, "insufficient_balance", "balance has only $0.00 available"),
        ]
        for key, name, status, code, words in rows:
            with subtests.test(f"{client}: {code}"):
                error = asked(relay, client, key, name, retries=status == 403)
                assert type(error) is RAISED[family][status]
                said = told(error)
                assert (said.status, said.kind, said.code) == (status, TYPES[family][status], code.upper())
                assert words in said.message
    # What a 403 refuses is not asked again, and of each client's four only the one reached an upstream.
    eventually(lambda: len(world.records()) >= 3 * len(SDKS), what="every record")
    assert Counter(record.error_code for record in world.records()) == {
        "insufficient_balance": len(SDKS),
        "model_not_found": len(SDKS),
        "upstream_error": len(SDKS),
    }
    assert [len(double.seen) for double in everywhere.values()] == [1, 1, 1, 1]
    assert world.prove()["charged_nanos"] == 0


def test_an_upstreams_own_400(world, relay, everywhere, subtests):
    for client, upstream in product(SDKS, everywhere):
        with subtests.test(f"{client}-{upstream}"):
            family, double = SDKS[client], everywhere[upstream]
            body = double.error(400, f"messages.7: a {upstream} upstream did not like it")
            double.script.append(json_reply(body, 400))
            error = asked(relay, client, world.secret, f"to-{upstream}")
            assert type(error) is RAISED[family][400]
            if upstream == client:
                raw = error.details if family == "gemini" else error.response.content
                assert raw == (body if family == "gemini" else json.dumps(body).encode())
            else:
                said = told(error)
                assert (said.status, said.kind, said.code) == (400, TYPES[family][400], CODES[upstream])
                assert said.message == f"messages.7: a {upstream} upstream did not like it"
    eventually(lambda: len(world.records()) == len(SDKS) ** 2, what="every record")
    assert {(record.status, record.http_status) for record in world.records()} == {("refused", 400)}
    assert world.prove()["charged_nanos"] == 0


def test_an_upstream_that_is_cut_in_mid_stream(world, relay, everywhere, subtests):
    for client, upstream in product(SDKS, everywhere):
        with subtests.test(f"{client}-{upstream}"):
            double = everywhere[upstream]
            parts = double.stream(Facts(stream=True), Said(HELLO))
            first = next(number for number, part in enumerate(parts) if b'"Hello t' in part)
            double.script.append(sse_reply(parts[: first + 1], then="cut"))
            sdk = CLIENTS[client](relay.url, world.secret, f"to-{upstream}", stream=True)
            texts = sdk.texts()
            assert next(texts) == "Hello t"
            with pytest.raises(CUTS[client], match=CUT):
                next(texts)
            sdk.close()
    eventually(lambda: len(world.records()) == len(SDKS) ** 2, what="every record")
    outcomes = {(record.status, record.error_code, record.cost_nanos) for record in world.records()}
    assert outcomes == {("upstream_error", "upstream_error", 0)}
    assert world.prove()["charged_nanos"] == 0
