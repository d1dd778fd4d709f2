"""Node, with the official SDK of the endpoint's maker; modules, so that `await` stands at the top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costrouter.reference.entries import Entry
from costrouter.reference.shapes import Code
from costrouter.reference.snippets.literals import WIDTH, js_literal, model_name, with_model
from costrouter.reference.snippets.sdks import NODE


def node(entry: Entry) -> str:
    """A whole module."""
    call, sdk = entry.doc.node, NODE[entry.doc.sdk]
    lines = list(call.lines) if call.lines is not None else [_request(entry), *call.after]
    name = js_literal(model_name(entry))
    said = [line.replace("MODEL", name) for line in lines]
    client = [*sdk.imports, "", *sdk.client] if call.with_client else []
    return "\n".join([*call.imports, *client, "", *said]) + "\n"


def _request(entry: Entry) -> str:
    call = entry.doc.node
    arguments = call.arguments if call.arguments is not None else with_model(entry.doc.request or {}, entry)
    return "const response = await " + call_text(call.method, arguments) + ";"


def call_text(method: str, arguments: Mapping[str, Any]) -> str:
    """A call: what is named "" comes first, the rest as one object."""
    first = [js_literal(value) for name, value in arguments.items() if not name]
    named = {name: value for name, value in arguments.items() if name}
    line = f"{method}({', '.join([*first, *([js_literal(named, room=10_000)] if named else [])])})"
    if len(line) + len("const response = await ;") <= WIDTH:
        return line
    rows = [_row(name, value) for name, value in named.items()]
    return "\n".join([f"{method}({''.join(text + ', ' for text in first)}{{", *rows, "})"])


def _row(name: str, value: Any) -> str:
    return f"  {name}: {js_literal(value, depth=1, before=len(name) + 2)},"


def streaming(entry: Entry, after: tuple[str, ...]) -> str:
    """A module that streams the endpoint's example: the lines `after` read `stream`."""
    sdk = NODE[entry.doc.sdk]
    arguments = {**with_model(entry.doc.request or {}, entry), "stream": Code("true")}
    asked = f"const stream = await {call_text(entry.doc.node.method, arguments)};"
    return "\n".join([*sdk.imports, "", *sdk.client, "", asked, *after]) + "\n"
