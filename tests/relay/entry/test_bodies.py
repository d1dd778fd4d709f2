"""The body of a request: what cannot be read, what is too large, what is packed; all of it refused for nothing."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.cast.calls import Call
from tests.cast.refusals import error_of, post, refused
from tests.cast.waiting import eventually
from tests.doubles.upstream import ask, completion

pytestmark = pytest.mark.any_database

BODIES = {
    "nothing": (b"", "invalid_json"),
    "broken": (b'{"model": ', "invalid_json"),
    "text": (b"hello", "invalid_json"),
    "a list": (b"[]", "invalid_json"),
    "null": (b"null", "invalid_json"),
    "two objects": (b"{}{}", "invalid_json"),
    "not UTF-8": (b'{"model":"\xff","messages":[]}', "invalid_json"),
    "UTF-16": ('{"model":"x"}'.encode("utf-16"), "invalid_json"),
    "nested too deeply": (b'{"model":"double-1","messages":[{"role":' + b"[" * 50_000 + b"]" * 50_000 + b"}]}", None),
    "half a character": (b'{"model":"double-1","messages":[{"role":"user","content":"\\ud83d"}]}', "invalid_json"),
    "half a character as the model": (b'{"model":"\\ud83d?","messages":[]}', "invalid_json"),
    "a number beyond all bounds": (b'{"model":"double-1","messages":[{}],"n":1e400}', "invalid_json"),
    "no model": (b'{"messages":[]}', "missing_model"),
    "an empty model": (b'{"model":"","messages":[]}', "missing_model"),
    "a model of 1": (b'{"model":1,"messages":[]}', "invalid_request"),
    "no messages": (b'{"model":"double-1"}', "invalid_request"),
    "a stored conversation": (b'{"model":"double-1","messages":[{}],"conversation":"c"}', "stored_state"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_cannot_be_read(world, upstream, relay, case):
    world.new_channel(upstream.url)
    relay.settled_down()
    body, code = BODIES[case]
    error = refused(world, upstream, post(relay, world.secret, body), 400, code or "invalid_json")
    assert error["type"] == "invalid_request_error"


LIMIT = 100_000


@pytest.fixture
def small_limit(settings):
    settings.MAX_BODY_BYTES = LIMIT


def padded(size):
    body = json.dumps(ask(user="")).encode()
    return json.dumps(ask(user="x" * (size - len(body)))).encode()


def test_a_body_at_the_limit_passes_and_beyond_it_is_413(world, upstream, relay, small_limit):
    world.new_channel(upstream.url)
    relay.settled_down()
    assert post(relay, world.secret, padded(LIMIT)).status_code == 200
    error_of(post(relay, world.secret, padded(LIMIT + 1)), 413, "body_too_large")
    assert len(upstream.seen) == 1
    eventually(lambda: len(world.records()) == 2)
    world.prove()


def test_a_body_declared_too_large_is_refused_unread(world, upstream, relay, small_limit):
    world.new_channel(upstream.url)
    relay.settled_down()
    call = Call(relay, world.secret, b"", headers={"content-length": str(10**12)})
    assert call.status == 413
    assert world.record().error_code == "body_too_large"
    world.prove()


def test_a_chunked_body_is_refused_once_it_is_too_large(world, upstream, relay, small_limit):
    world.new_channel(upstream.url)
    relay.settled_down()
    headers = {"content-length": "", "transfer-encoding": "chunked"}
    call = Call(relay, world.secret, b"", headers=headers)
    call.send(b"%x\r\n%s\r\n" % (LIMIT + 1, b" " * (LIMIT + 1)))
    assert call.status == 413
    assert world.record().error_code == "body_too_large"
    world.prove()


def test_a_large_body_gets_its_413_although_the_client_is_still_sending(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    refused(world, upstream, post(relay, world.secret, b" " * (50 * 1024 * 1024)), 413, "body_too_large")


def test_a_gzip_body_is_accepted_and_sent_on_unpacked(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    body = json.dumps(ask()).encode()
    response = post(relay, world.secret, gzip.compress(body), headers={"content-encoding": "gzip"})
    assert response.json()["choices"] == completion()["choices"]
    assert upstream.seen[0].json == ask()
    assert "content-encoding" not in upstream.seen[0].headers
    world.prove()


PACKED = {
    "a bomb": (gzip.compress(b" " * 50_000_000), "gzip", 413, "body_too_large"),
    "not gzip": (b"hello", "gzip", 400, "invalid_request"),
    "cut": (gzip.compress(json.dumps(ask()).encode())[:-4], "gzip", 400, "invalid_request"),
    "more than one": (gzip.compress(json.dumps(ask()).encode()) * 2, "gzip", 400, "invalid_request"),
    "brotli": (b"hello", "br", 400, "unsupported_encoding"),
}


@pytest.mark.parametrize("case", PACKED)
def test_a_packed_body_that_cannot_be_taken(world, upstream, relay, small_limit, case):
    world.new_channel(upstream.url)
    relay.settled_down()
    body, encoding, status, code = PACKED[case]
    response = post(relay, world.secret, body, headers={"content-encoding": encoding})
    refused(world, upstream, response, status, code)


def test_authentication_comes_before_the_body_is_read(world, relay):
    call = Call(relay, "sk-unknown", b"x" * 100, send_body=False, headers={"expect": "100-continue"})
    assert call.status == 401
    assert b"100 Continue" not in call.raw
    assert world.prove()["records"] == 0
