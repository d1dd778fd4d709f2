"""The contents of a Gemini request as neutral messages.

Source of the format: `Content` and `Part` of the google-genai 3.4 package. Calls of older APIs have no ids, and their
results name the function only: they meet in the order in which they stand.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.fields import Fields, value_of
from relay.protocols.gemini.fields import check_uri, invalid, json_text, kind_of, object_of, objects
from relay.protocols.gemini.parts import spoken

WHERE = "not Gemini"
_DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_PART = frozenset({*_DATA, "thought", "thoughtSignature", "mediaResolution", "partMetadata"})
_AUDIO = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-flac": "flac", "x-aac": "aac"}


class _Calls:
    """The calls of a conversation, so that a result without an id finds the one it answers."""

    def __init__(self) -> None:
        self._open: list[ir.ToolCall] = []
        self.count = 0

    def add(self, call: ir.ToolCall) -> None:
        self._open.append(call)
        self.count += 1

    def answered(self, known: Any, name: str) -> str | None:
        """The id of the call that a result answers: by its id, else the first of its name that waits."""
        for call in self._open:
            if call.id == known if known else call.name == name:
                self._open.remove(call)
                return call.id
        return self.answered(None, name) if known else None


def messages_of(fields: Fields) -> list[ir.Message]:
    messages: list[ir.Message] = []
    system = object_of(value_of(fields, "systemInstruction"), "systemInstruction")
    parts: list[ir.Part] = []
    for number, part in enumerate(objects(system.get("parts"), "systemInstruction.parts")):
        text = part.get("text")
        if not isinstance(text, str) or not set(part) <= {"text", "partMetadata"}:
            raise ir.unsupported(f"systemInstruction.parts[{number}]", WHERE)
        parts += [ir.Text(text)] if text else []
    if parts:
        messages.append(ir.Message("system", parts))
    calls = _Calls()
    for number, content in enumerate(objects(value_of(fields, "contents"), "contents")):
        where = f"contents[{number}]"
        role = content.get("role") or "user"
        if role not in ("user", "model", "function"):
            raise invalid(f"{where}.role", '"user" or "model"')
        into = _turn(messages, "assistant" if role == "model" else "user")
        before = len(into)
        for place, part in enumerate(objects(content.get("parts"), f"{where}.parts")):
            _read_part(part, into, calls, f"{where}.parts[{place}]", model=role == "model")
        if role == "model":
            _join_chunks(into, before)
    return [message for message in messages if message.parts]


def _turn(messages: list[ir.Message], role: ir.Role) -> list[ir.Part]:
    """The parts of the turn that is going on: neighbours of one role are one."""
    if not messages or messages[-1].role != role:
        messages.append(ir.Message(role, []))
    return messages[-1].parts


def _read_part(part: dict[str, Any], into: list[ir.Part], calls: _Calls, where: str, *, model: bool) -> None:
    for name in part:
        if name not in _PART:
            raise ir.unsupported(f"{where}.{name}", WHERE)
    kinds = [name for name in _DATA if name in part]
    if len(kinds) > 1:
        raise invalid(where, f"one of {' and '.join(kinds)}")
    kind = kinds[0] if kinds else "text"
    if kind == "inlineData":
        into.append(_blob(object_of(part[kind], f"{where}.{kind}"), f"{where}.{kind}"))
    elif kind == "fileData":
        into.append(_file(object_of(part[kind], f"{where}.{kind}"), f"{where}.{kind}"))
    elif kind == "functionResponse":
        into.append(_result(object_of(part[kind], f"{where}.{kind}"), calls, f"{where}.{kind}"))
    elif kind == "functionCall":
        call = object_of(part[kind], f"{where}.{kind}")
        if not isinstance(call.get("name"), str) or not isinstance(call.get("args", {}), dict):
            raise invalid(f"{where}.{kind}", "a name and an object of args")
        for said in spoken({**part, kind: call}, calls.count):
            into.append(said)
            if isinstance(said, ir.ToolCall):
                calls.add(said)
    elif not isinstance(part.get("text", ""), str):
        raise invalid(f"{where}.text", "a string")
    elif model:
        for said in spoken(part):
            _join_thoughts(said, into)
            into.append(said)
    elif part.get("text"):
        into.append(ir.Text(part["text"]))


def _join_chunks(into: list[ir.Part], place: int) -> None:
    """A client that read a stream sends its chunks back as contents of their own: text that was cut is whole again."""
    if 0 < place < len(into):
        last, first = into[place - 1], into[place]
        texts = isinstance(last, ir.Text) and isinstance(first, ir.Text)
        thoughts = last == ir.Reasoning(_text(last), "gemini") and first == ir.Reasoning(_text(first), "gemini")
        if texts or thoughts:
            into[place - 1 : place + 1] = [msgspec.structs.replace(last, text=_text(last) + _text(first))]


def _text(part: ir.Part) -> str:
    return part.text if isinstance(part, ir.Text | ir.Reasoning) else ""


def _join_thoughts(said: ir.Part, into: list[ir.Part]) -> None:
    """Another maker's reasoning was streamed as thoughts, whose last has the seal of all: take them back into one."""
    if not isinstance(said, ir.Reasoning) or said.origin == "gemini":
        return
    while into and into[-1] == ir.Reasoning(_text(into[-1]), "gemini"):
        said.text = _text(into.pop()) + said.text


def _blob(blob: dict[str, Any], where: str) -> ir.Image | ir.Audio | ir.File:
    media_type, data = blob.get("mimeType"), blob.get("data")
    if not isinstance(media_type, str) or not isinstance(data, str):
        raise invalid(where, "a mimeType and base64 data")
    kind, name = kind_of(media_type), blob.get("displayName")
    if kind == "image":
        return ir.Image(data=data, media_type=media_type)
    if kind == "audio":
        subtype = media_type.partition("/")[2].partition(";")[0].lower()
        return ir.Audio(data, _AUDIO.get(subtype, subtype))
    return ir.File(data=data, media_type=media_type, name=name if isinstance(name, str) else None)


def _file(file: dict[str, Any], where: str) -> ir.Image | ir.File:
    url = check_uri(file.get("fileUri"), f"{where}.fileUri")
    media_type, name = file.get("mimeType"), file.get("displayName")
    media_type = media_type if isinstance(media_type, str) else None
    if kind_of(media_type) == "image":
        return ir.Image(url=url, media_type=media_type)
    return ir.File(url=url, media_type=media_type, name=name if isinstance(name, str) else None)


def _result(result: dict[str, Any], calls: _Calls, where: str) -> ir.ToolResult:
    name, response = result.get("name"), result.get("response", {})
    if not isinstance(name, str) or not isinstance(response, dict):
        raise invalid(where, "a name and an object as response")
    for field in ("willContinue", "scheduling"):
        if result.get(field):
            raise ir.unsupported(f"{where}.{field}", WHERE)
    known = result.get("id")
    answered = calls.answered(known, name) or (known if isinstance(known, str) else None)
    if not answered:
        raise RelayError("invalid_request", f"{where} answers no functionCall of this conversation.", param=where)
    text, error = json_text(response), False
    if len(response) == 1:
        word, value = next(iter(response.items()))
        if word in ("output", "result", "error"):
            text, error = value if isinstance(value, str) else json_text(value), word == "error"
    parts: list[ir.Text | ir.Image | ir.File] = [ir.Text(text)] if text and response else []
    for number, part in enumerate(objects(result.get("parts"), f"{where}.parts")):
        inside = f"{where}.parts[{number}]"
        if "inlineData" in part:
            blob = _blob(object_of(part["inlineData"], inside), inside)
            if isinstance(blob, ir.Audio):
                raise ir.unsupported(inside, WHERE)
            parts.append(blob)
        elif "fileData" in part:
            parts.append(_file(object_of(part["fileData"], inside), inside))
        else:
            raise ir.unsupported(inside, WHERE)
    return ir.ToolResult(answered, parts, name, error)
