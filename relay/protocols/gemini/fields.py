"""Gemini's JSON: both spellings of a field, what a URI names, and what of a value a model reads.

Google reads requests as proto JSON: `maxOutputTokens` and `max_output_tokens` are one field. So whatever matters is
looked up by its lowerCamelCase name, and a body that has a field under both is refused: only Google knows which wins.
Source: the types of the google-genai 3.4 package, and protobuf's JSON mapping.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Media, Request
from relay.protocols.fields import Fields, strings, utf8_length

_V = TypeVar("_V")
_encode = msgspec.json.encode

# Hosts whose URLs name what an account stored: files, buckets. Google reads them with the upstream account's rights.
_STORES = ("googleapis.com", "storage.cloud.google.com")
# Fields that say what a request costs. Servers written in Go would read `MaxOutputTokens` as one of them.
_COSTS = {
    name.casefold(): name
    for name in (
        *("contents", "systemInstruction", "generationConfig", "tools", "serviceTier", "cachedContent", "model"),
        *("maxOutputTokens", "candidateCount", "responseModalities", "googleSearch", "functionDeclarations"),
    )
}
# Strings of a part that no model reads.
_LABELS = frozenset({"role", "mimeType", "id", "language", "outcome", "mediaProcessing", "level", "toolType"})


def encode(value: Any) -> bytes:
    """A value as JSON, whatever JSON it came from: half a character, and a number of any size."""
    try:
        return _encode(value)
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(value, separators=(",", ":")).encode()


def json_text(value: Any) -> str:
    """The same as text."""
    return encode(value).decode()


def camel(name: str) -> str:
    """A field's lowerCamelCase name."""
    if "_" not in name:
        return name
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def plain(value: Mapping[str, _V], where: str = "") -> dict[str, _V]:
    """An object by lowerCamelCase names. Raises RelayError where it has a field under both spellings, or nearly so."""
    found: dict[str, _V] = {}
    for name, inner in value.items():
        known = camel(name)
        meant = _COSTS.get(known.casefold(), known)
        if meant != known:
            raise RelayError("invalid_request", f"{where}{name} is not a field; {meant} is.", param=where + name)
        if known in found:
            raise RelayError("invalid_request", f"{where}{known} is given twice.", param=where + known)
        found[known] = inner
    return found


def top(fields: Fields, where: str = "") -> Fields:
    """The same for a body's fields, without those that are null."""
    return {name: raw for name, raw in plain(fields, where).items() if bytes(raw) != b"null"}


def objects(value: Any, name: str) -> list[dict[str, Any]]:
    """A list of objects by their lowerCamelCase names, nulls left out; [] where it is absent."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(name, "a list of objects")
    return [object_of(item, f"{name}[{number}]") for number, item in enumerate(value)]


def object_of(value: Any, name: str) -> dict[str, Any]:
    """An object by its lowerCamelCase names, nulls left out; {} where it is absent."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(name, "an object")
    return {key: inner for key, inner in plain(value, f"{name}.").items() if inner is not None}


def invalid(name: str, what: str) -> RelayError:
    """The 400 for a field that is not what it must be."""
    return RelayError("invalid_request", f"{name} must be {what}.", param=name)


def stored(name: str) -> RelayError:
    """The 400 for a field that names state of the upstream's account."""
    return RelayError(
        "stored_state", f"{name} names state that is stored upstream, which is not available here.", param=name
    )


def check_uri(uri: Any, name: str) -> str:
    """A URI that anybody may read. Raises `stored_state` for a file of the account, `invalid_request` otherwise."""
    if not isinstance(uri, str) or not uri.isascii() or not uri.isprintable() or " " in uri or "\\" in uri:
        raise invalid(name, "an https: URL")
    try:
        parts = urlsplit(uri)
        host = unquote(parts.hostname or "").rstrip(".").lower()
    except ValueError as error:
        raise invalid(name, "an https: URL") from error
    if parts.scheme.lower() == "gs" or uri.lstrip("/").startswith("files/"):
        raise stored(name)
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise invalid(name, "an https: URL")
    if any(host == store or host.endswith("." + store) for store in _STORES):
        raise stored(name)
    return uri


def kind_of(mime_type: Any) -> str:
    """ "image", "audio" or "file"."""
    kind = mime_type.partition("/")[0].lower() if isinstance(mime_type, str) else ""
    return kind if kind in ("image", "audio") else "file"


def read_content(value: Any, name: str, request: Request) -> None:
    """Count what the upstream reads of a `Content`, a list of them, or a part: texts, and parts that are not text."""
    if isinstance(value, list):
        for number, inner in enumerate(value):
            read_content(inner, f"{name}[{number}]", request)
    elif isinstance(value, dict):
        for key, inner in plain(value, f"{name}.").items():
            _read_field(key, inner, f"{name}.{key}", request)
    elif isinstance(value, str):
        request.texts.append(value)


def _read_field(key: str, value: Any, name: str, request: Request) -> None:
    if key == "inlineData" and isinstance(value, dict):
        blob = plain(value, f"{name}.")
        data = blob.get("data")
        request.media.append(Media(kind_of(blob.get("mimeType")), len(data) if isinstance(data, str) else None))
    elif key == "fileData" and isinstance(value, dict):
        file = plain(value, f"{name}.")
        check_uri(file.get("fileUri"), f"{name}.fileUri")
        request.media.append(Media(kind_of(file.get("mimeType"))))
    elif key in ("args", "response") and isinstance(value, dict):
        request.texts.append(json_text(value))
    elif key == "thoughtSignature" and isinstance(value, str):
        request.text_bytes += len(value)  # it stands for thoughts that are read again, and is no text
    elif key not in _LABELS or not isinstance(value, str):
        if isinstance(value, dict | list):
            read_content(value, name, request)
        else:
            strings(value, request.texts)


def count_text(request: Request, raws: list[msgspec.Raw]) -> None:
    """Add what is read beside the contents (tools, schemas), and sum all text."""
    request.texts += [bytes(raw).decode("utf-8", "replace") for raw in raws]
    request.text_bytes += sum(map(utf8_length, request.texts))
