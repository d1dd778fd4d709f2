"""curl, quoted for a POSIX shell."""

from __future__ import annotations

import shlex

from costrouter.reference.entries import Entry
from costrouter.reference.marks import BASE, KEY
from costrouter.reference.shapes import File
from costrouter.reference.snippets.literals import as_json, model_name, with_model

# Whose key header each maker's own examples use.
KEY_HEADERS = {"openai": "Authorization: Bearer ", "anthropic": "x-api-key: ", "gemini": "x-goog-api-key: "}
_VERSION = "anthropic-version: 2023-06-01"
# A websocket's handshake: the key of it is any 16 bytes.
_UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: Y29zdHJvdXRlci1kb2NzIQ==",
)


def curl(entry: Entry, *, stream: bool = False) -> str:
    """One command. `stream`: with `"stream": true` in its body, shown as it comes."""
    method, doc = entry.endpoint.method, entry.doc
    parts = ["curl"]
    if stream or entry.name == "gemini.stream":
        parts[0] += " --no-buffer"
    if entry.is_websocket:
        parts[0] += " --include --no-buffer --max-time 5"
    elif method != "GET":
        parts[0] += f" -X {method}"
    parts[0] += f" {quoted(BASE + address(entry))}"
    parts += [f"-H {quoted(header)}" for header in headers(entry)]
    if doc.form and doc.request is not None:
        parts += [f"-F {quoted(f'{name}={_form_value(name, value, entry)}')}" for name, value in doc.request.items()]
    elif doc.request is not None:
        body = with_model(doc.request, entry)
        parts.append(f"-d {quoted(as_json({**body, 'stream': True} if stream else body))}")
    if doc.save_as:
        parts.append(f"-o {doc.save_as}")
    return " \\\n  ".join(parts)


def headers(entry: Entry) -> list[str]:
    """The headers of the example, its key first."""
    found = [KEY_HEADERS[entry.family] + KEY]
    if entry.family == "anthropic":
        found.append(_VERSION)
    if entry.content_type == "application/json":
        found.append("Content-Type: application/json")
    return [*found, *_UPGRADE] if entry.is_websocket else found


def address(entry: Entry) -> str:
    """The example's path, its model marked."""
    path = entry.filled_path
    name = model_name(entry)
    return path.replace(f"/{entry.doc.models[0]}:", f"/{name}:") if "model" in entry.doc.path and name else path


def _form_value(name: str, value: object, entry: Entry) -> str:
    if isinstance(value, File):
        return f"@{value.name};type={value.content_type}"
    return model_name(entry) if name == "model" else str(value)


def quoted(text: str) -> str:
    """A word of a shell, always in single quotes: it reads better than with them now and then."""
    return shlex.quote(text) if "'" in text else f"'{text}'"
