"""The sandbox on the wire: OpenAI's `/v1/models` and `/v1/chat/completions`, as an ASGI application."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from itertools import zip_longest
from typing import Any

from costrouter.sandbox.answers import Answer, BadRequest, Choice, answer
from costrouter.sandbox.models import MODELS

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
MAX_BODY = 64 * 1024 * 1024


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """One request. Any key is accepted."""
    if scope["type"] != "http":
        return
    try:
        await _dispatch(scope["method"], scope["path"], receive, send)
    except BadRequest as error:
        await _json(send, error.status, _error(str(error), param=error.param, code=error.code))


async def _dispatch(method: str, path: str, receive: Receive, send: Send) -> None:
    if path == "/v1/chat/completions" and method == "POST":
        try:
            body = json.loads(await _body(receive))
            json.dumps(body, ensure_ascii=False, allow_nan=False).encode()  # half a character, or no number
        except (ValueError, RecursionError):
            raise BadRequest("We could not parse the JSON body of your request.") from None
        try:
            found = answer(body)
        except RecursionError:
            raise BadRequest("The body is nested too deeply.") from None
        await _complete(found, receive, send)
    elif path == "/v1/models" and method == "GET":
        await _json(send, 200, {"object": "list", "data": [_model(name) for name in MODELS]})
    elif path.removeprefix("/v1/models/") in MODELS and method == "GET":
        await _json(send, 200, _model(path.removeprefix("/v1/models/")))
    else:
        raise BadRequest(f"Unknown request URL: {method} {path}.", code="unknown_url", status=404)


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > MAX_BODY:
            raise BadRequest("The body is too large.", status=413)
        if not message.get("more_body"):
            return body


async def _complete(found: Answer, receive: Receive, send: Send) -> None:
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": found.model.name}
    if not found.stream:
        # A model makes its whole answer before it sends any of it.
        await asyncio.sleep(found.model.delay * max(len(choice.tokens) for choice in found.choices))
        choices = [_whole_choice(index, choice) for index, choice in enumerate(found.choices)]
        await _json(send, 200, {**head, "object": "chat.completion", "choices": choices, "usage": found.usage})
        return
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(_until_gone(receive))
        await _start(send, 200, b"text/event-stream")
        for pause, event in _events(found, head):
            if pause and found.model.delay:
                await asyncio.sleep(found.model.delay)
            if gone.done():
                return
            await send({"type": "http.response.body", "body": b"data: " + event + b"\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
        gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _events(found: Answer, head: dict[str, Any]) -> Iterator[tuple[bool, bytes]]:
    """The stream's events, and whether to take a token's time before each. The choices advance together."""
    head = {**head, "object": "chat.completion.chunk"}
    unused = {"usage": None} if found.include_usage else {}

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _dumps({**head, "choices": [choice], **unused})

    for index, choice in enumerate(found.choices):
        opening: dict[str, Any] = {"role": "assistant", "content": None if choice.tool_name else ""}
        if choice.tool_name:
            opening["tool_calls"] = [{"index": 0, **_call(choice, "")}]
        yield False, chunk(index, opening)
    for step in zip_longest(*(choice.tokens for choice in found.choices)):
        pause = True
        for index, token in enumerate(step):
            if token is not None:
                called = found.choices[index].tool_name
                delta = (
                    {"tool_calls": [{"index": 0, "function": {"arguments": token}}]} if called else {"content": token}
                )
                yield pause, chunk(index, delta)
                pause = False
    for index, choice in enumerate(found.choices):
        yield False, chunk(index, {}, choice.finish_reason)
    if found.include_usage:
        yield False, _dumps({**head, "choices": [], "usage": found.usage})


def _whole_choice(index: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.tool_name:
        message |= {"content": None, "tool_calls": [_call(choice, choice.text)]}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": choice.finish_reason}


def _call(choice: Choice, arguments: str) -> dict[str, Any]:
    function = {"name": choice.tool_name, "arguments": arguments}
    return {
        "id": f"call_{uuid.uuid5(uuid.NAMESPACE_OID, choice.text).hex[:24]}",
        "type": "function",
        "function": function,
    }


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_790_000_000, "owned_by": "costrouter-sandbox"}


def _error(message: str, *, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def _dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def _start(send: Send, status: int, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"x-request-id", uuid.uuid4().hex.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _json(send: Send, status: int, value: object) -> None:
    await _start(send, status, b"application/json")
    await send({"type": "http.response.body", "body": _dumps(value)})
