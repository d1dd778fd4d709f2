"""What tests of refusals share: a request, and what every refusal must look like."""

from __future__ import annotations

import re

import httpx

from tests.doubles.upstream import ask

CHAT = "/v1/chat/completions"


def post(relay, secret, content=None, **options):
    """A request under a key (None: no key), as bytes or as JSON."""
    headers = {"authorization": f"Bearer {secret}"} if secret is not None else {}
    headers |= options.pop("headers", {})
    body = {"content": content} if isinstance(content, bytes) else {"json": ask() if content is None else content}
    return httpx.post(relay.url + options.pop("path", CHAT), headers=headers, timeout=20, **body, **options)


def error_of(response, status, code):
    """The error of a refusal, its shape and headers checked."""
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    error = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert re.fullmatch(r"req_[0-9a-f]{32}", response.headers["x-request-id"])
    assert response.headers["content-type"] == "application/json"
    assert response.headers.get("x-should-retry") == ("false" if status == 403 else None)
    return error


def refused(world, upstream, response, status, code):
    """The same for a request of a known key: one record at no cost, and nothing upstream."""
    error = error_of(response, status, code)
    record = world.record()
    assert (record.status, record.http_status, record.error_code) == ("refused", status, code)
    assert (record.cost_nanos, record.units, record.attempts) == (0, {}, [])
    assert record.request_id == response.headers["x-request-id"]
    assert upstream.seen == []
    assert world.prove()["charged_nanos"] == 0
    return error
