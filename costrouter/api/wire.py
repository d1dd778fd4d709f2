"""Bodies and paths on the wire: JSON only, and nothing that a database could not keep."""

from __future__ import annotations

import json
import math
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.urls import register_converter
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 50


class AlwaysJson(DefaultContentNegotiation):
    """Answers are JSON whatever the client says it accepts: a browser that follows a link may read them too."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class JsonBody(BaseParser):
    """A body of `application/json`. Raises ParseError for what is not JSON and for text that no database keeps."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        body = stream.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise RequestDataTooBig
        try:
            value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The body is not JSON: {error}"[:200]) from None
        if problem := unstorable(value):
            raise ParseError(problem)
        return value


def unstorable(value: Any, depth: int = 0) -> str | None:
    """Why a JSON value cannot be kept: NUL characters, halves of surrogate pairs, too deep; None where it can."""
    if isinstance(value, str):
        return unstorable_text(value)
    if isinstance(value, dict | list) and depth >= MAX_DEPTH:
        return f"The body is nested deeper than {MAX_DEPTH} levels."
    if isinstance(value, dict):
        items = [*value, *value.values()]
    else:
        items = value if isinstance(value, list) else []
    return next((problem for item in items if (problem := unstorable(item, depth + 1))), None)


def unstorable_text(text: str) -> str | None:
    """Why a text cannot be kept, or None."""
    if "\x00" in text:
        return "A text has a NUL character."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "A text has half of a surrogate pair."
    return None


class Pk:
    """The number of a row in a path; what no column can hold is no row."""

    regex = "[1-9][0-9]{0,17}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


class RequestId:
    """The id of a relayed request in a path."""

    regex = "[A-Za-z0-9_-]{1,40}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class Month(RequestId):
    """A calendar month in a path: 2026-11."""

    regex = "20[0-9]{2}-(?:0[1-9]|1[0-2])"


class ModelName(RequestId):
    """A model's name in a path, which may hold slashes."""

    regex = "[!-~]{1,150}"


register_converter(ModelName, "model")
register_converter(Pk, "pk")
register_converter(RequestId, "request")
register_converter(Month, "statement_month")
