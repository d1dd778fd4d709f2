"""Python, with the official SDK of the endpoint's maker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costrouter.reference.entries import Entry
from costrouter.reference.shapes import Code
from costrouter.reference.snippets.literals import WIDTH, model_name, python_literal, with_model
from costrouter.reference.snippets.sdks import PYTHON


def python(entry: Entry) -> str:
    """A whole program."""
    call, sdk = entry.doc.python, PYTHON[entry.doc.sdk]
    imports = "\n".join([*call.imports, "", *sdk.imports] if call.imports else sdk.imports)
    lines = list(call.lines) if call.lines is not None else [_request(entry), *call.after]
    return "\n".join([imports, "", *sdk.client, "", *_with_model(lines, entry)]) + "\n"


def _with_model(lines: list[str], entry: Entry) -> list[str]:
    name = python_literal(model_name(entry))
    return [line.replace("MODEL", name) for line in lines]


def _request(entry: Entry) -> str:
    call = entry.doc.python
    arguments = call.arguments if call.arguments is not None else with_model(entry.doc.request or {}, entry)
    return "response = " + call_text(call.method, arguments)


def call_text(method: str, arguments: Mapping[str, Any]) -> str:
    """A call with keyword arguments; one named "" is positional."""
    parts = [(f"{name}=" if name else "", value) for name, value in arguments.items()]
    line = f"{method}({', '.join(name + python_literal(value, room=10_000) for name, value in parts)})"
    if len(line) + len("response = ") <= WIDTH:
        return line
    rows = [f"    {name}{python_literal(value, depth=1, before=len(name))}," for name, value in parts]
    return "\n".join([f"{method}(", *rows, ")"])


def streaming(entry: Entry, after: tuple[str, ...]) -> str:
    """A program that streams the endpoint's example: the lines `after` read `stream`."""
    sdk = PYTHON[entry.doc.sdk]
    arguments = {**with_model(entry.doc.request or {}, entry), "stream": Code("True")}
    asked = "stream = " + call_text(entry.doc.python.method, arguments)
    return "\n".join([*sdk.imports, "", *sdk.client, "", asked, *after]) + "\n"
