"""An upstream double that reads requests as strictly as the real API, and answers them in its recorded shape."""

from __future__ import annotations

import functools
import json
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tests.doubles.upstream import Reply, Seen, Upstream, json_reply, sse_reply
from tests.sdk.mind import Facts, Said, Wrong, answer

CREDENTIALS = "sk-upstream"


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(list[kind], config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))


def check(kind: Any, value: Any) -> None:
    """Raise Wrong for what is not of an SDK's own parameter type: a wrong type, a field that nobody knows."""
    try:
        _walk(_adapter(kind).validate_python([value], strict=True))
    except ValidationError as error:
        raise Wrong(str(error)[:2_000]) from error


def _walk(value: Any) -> None:
    """Iterables are validated as they are read; an answer's types, where parameters allow them, take any field."""
    if isinstance(value, BaseModel):
        if value.model_extra:
            raise Wrong(f"{type(value).__name__} has no fields {sorted(value.model_extra)}")
    elif isinstance(value, dict):
        for inner in value.values():
            _walk(inner)
    elif not isinstance(value, str | bytes) and hasattr(value, "__iter__"):
        for inner in value:
            _walk(inner)


class Double(Upstream):
    """`facts`: of each request that was right; `wrongs`: what was wrong with the others.

    A reply in `script` comes before the model's own. A dialect says: `dialect`, its `provider` and `model` in a test's
    channel, and its `units`: what every answer uses, as the relay should count it.
    """

    dialect: ClassVar[str]
    provider: ClassVar[str]
    model: ClassVar[str]
    units: ClassVar[dict[str, int]]

    def __init__(self) -> None:
        super().__init__()
        self.facts: list[Facts] = []
        self.wrongs: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def forget(self) -> None:
        """Begin anew."""
        self.script.clear()
        self.seen.clear()
        self.facts.clear()
        self.wrongs.clear()
        self.closed_early.clear()

    def _choose(self, seen: Seen) -> Reply:
        if self.script:
            return self.script.popleft()
        try:
            return self.reply(seen)
        except Exception as error:  # whatever a request of the wrong shape does to the code that reads it
            self.wrongs.append(f"{type(error).__name__}: {error}")
            return json_reply(self.error(400, self.wrongs[-1]), 400)

    def reply(self, seen: Seen) -> Reply:
        """The answer to a request."""
        facts = self.read(seen)
        said = answer(facts)
        self.facts.append(facts)
        return sse_reply(self.stream(facts, said)) if facts.stream else json_reply(self.whole(facts, said))

    def read(self, seen: Seen) -> Facts:
        """What a request says. Raises Wrong."""
        raise NotImplementedError

    def whole(self, facts: Facts, said: Said) -> dict[str, Any]:
        """An answer."""
        raise NotImplementedError

    def stream(self, facts: Facts, said: Said) -> list[bytes]:
        """The same, streamed."""
        raise NotImplementedError

    def error(self, status: int, message: str) -> dict[str, Any]:
        """An error in this dialect."""
        raise NotImplementedError


def need(truth: object, what: str) -> None:
    """Raise Wrong unless something is so."""
    if not truth:
        raise Wrong(what)


def authentic(seen: Seen, header: str, value: str) -> None:
    """The channel's credentials in their own header, and no client's key in any."""
    need(seen.headers.get(header) == value, f"{header} is {seen.headers.get(header)!r}")
    keys = [
        name for name in ("authorization", "x-api-key", "x-goog-api-key") if name in seen.headers and name != header
    ]
    need(not keys, f"keys of others in {keys}")


def said_event(kind: str, **fields: Any) -> bytes:
    """A server-sent event with a name."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
