"""Forms with files: any split of the bytes gives the same parts, and what is rebuilt says the same."""

from __future__ import annotations

import asyncio
import json
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.entry import multipart
from relay.entry.multipart import Form, is_form, read_form
from relay.errors import RelayError

BOUNDARY = "xyz0123456789"
TYPE = f"multipart/form-data; boundary={BOUNDARY}".encode()
FILE = b"ID3\x04\x00\r\n--xyz\r\n\x00\xff"


def form_of(*parts, end=True):
    """A form as a client writes it: (name, text) or (name, filename, content type, bytes)."""
    body = b""
    for name, *rest in parts:
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if len(rest) == 1:
            body += b"\r\n\r\n" + rest[0].encode()
        else:
            filename, content_type, data = rest
            body += f'; filename="{filename}"\r\nContent-Type: {content_type}\r\n\r\n'.encode() + data
        body += b"\r\n"
    return body + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


BODY = form_of(("model", "whisper-1"), ("file", "a b.mp3", "audio/mpeg", FILE), ("prompt", "héllo\r\nthere"))
VALUES = {
    "model": "whisper-1",
    "file": {"filename": "a b.mp3", "content_type": "audio/mpeg", "size": len(FILE)},
    "prompt": "héllo\r\nthere",
}


def read(body, cuts=(), content_type=TYPE, limit=1 << 20) -> Form:
    async def chunks():
        start = 0
        for end in [*sorted(cuts), len(body)]:
            yield body[start:end]
            start = end

    return asyncio.run(read_form(chunks(), content_type, limit=limit))


def sent(upload):
    """What an upstream gets, and what it understands."""

    async def gather():
        return b"".join([chunk async for chunk in upload.chunks()])

    body = asyncio.run(gather())
    assert len(body) == upload.length
    return read(body, content_type=upload.content_type.encode())


def contents(form):
    found = []
    for part in form.parts:
        if part.data is not None:
            part.data.seek(0)
        found.append((part.name, part.text, part.data and part.data.read(), part.filename, part.content_type))
    return found


def refusal(body, **options):
    with pytest.raises(RelayError) as refused:
        read(body, **options)
    return refused.value.status, refused.value.code


def test_a_form_is_described_as_json():
    form = read(BODY)
    assert json.loads(form.description()) == VALUES
    assert contents(form)[1] == ("file", None, FILE, "a b.mp3", "audio/mpeg")


def test_every_single_boundary():
    whole = contents(read(BODY))
    for cut in range(len(BODY) + 1):
        assert contents(read(BODY, [cut])) == whole


@given(st.data())
def test_any_split_gives_the_same_parts(data):
    cuts = data.draw(st.lists(st.integers(0, len(BODY)), max_size=12))
    assert contents(read(BODY, cuts)) == contents(read(BODY))


NAMES = st.text(st.characters(codec="utf-8", exclude_characters='"\\%', exclude_categories=["C", "Z"]), min_size=1)
PARTS = st.lists(
    st.one_of(
        st.tuples(NAMES.map(lambda name: f"t{name}"), st.text(max_size=50)),
        st.tuples(
            NAMES.map(lambda name: f"f{name}"),
            st.sampled_from(["a.png", "blob", "é €.webm", ""]),
            st.sampled_from(["image/png", "application/octet-stream", "audio/webm; codecs=opus"]),
            st.binary(max_size=200),
        ),
    ),
    max_size=6,
    unique_by=lambda part: part[0],
)


@given(PARTS)
def test_a_form_that_is_rebuilt_says_the_same(parts):
    parts = [part for part in parts if not part[0].endswith("[]")]
    if not parts:
        return
    form = read(form_of(*parts))
    again = sent(form.upload(form.description()))
    assert contents(again) == contents(form)
    assert again.values() == form.values()


def test_what_a_dialect_changes_is_changed_and_the_rest_is_not():
    form = read(BODY)
    upload = form.upload(json.dumps({**VALUES, "model": "there", "stream": True, "n": 2}).encode())
    again = sent(upload)
    assert again.values() == {**VALUES, "model": "there", "stream": "true", "n": "2"}
    assert contents(again)[-2:] == contents(form)[-2:]
    less = sent(form.upload(json.dumps({"model": "there", "file": VALUES["file"]}).encode()))
    assert list(less.values()) == ["model", "file"]


def test_an_upload_is_sent_as_often_as_it_is_asked_for():
    upload = read(BODY).upload(json.dumps(VALUES).encode())
    assert contents(sent(upload)) == contents(sent(upload))


def test_an_upload_that_was_given_up_does_not_disturb_the_next():
    form = read(form_of(("file", "a", "x/y", bytes(300_000))), limit=1 << 20)
    upload = form.upload(form.description())

    async def both():
        first = upload.chunks()
        for _ in range(3):
            await anext(first)
        whole = b"".join([chunk async for chunk in upload.chunks()])
        await anext(first)
        return whole

    assert len(asyncio.run(both())) == upload.length


def test_repeated_names_are_lists():
    form = read(
        form_of(
            ("timestamp_granularities[]", "word"),
            ("timestamp_granularities[]", "segment"),
            ("include[]", "logprobs"),
            ("image", "a", "image/png", b"1"),
            ("image", "b", "image/png", b"22"),
        )
    )
    values = form.values()
    assert (values["timestamp_granularities[]"], values["include[]"]) == (["word", "segment"], ["logprobs"])
    assert [image["size"] for image in values["image"]] == [1, 2]
    assert sent(form.upload(form.description())).values() == values


def test_what_was_noted_of_a_file_is_described():
    form = read(BODY)
    form.files("file")[0].facts["seconds"] = 7
    assert form.values()["file"]["seconds"] == 7
    assert sent(form.upload(form.description())).values() == VALUES


def test_a_large_file_waits_on_disk_and_is_gone_when_closed(monkeypatch):
    monkeypatch.setattr(multipart, "SPOOL_BYTES", 1_000)
    form = read(form_of(("file", "a", "x/y", bytes(1_000)), ("image", "b", "x/y", bytes(1_001))))
    small, large = (part.data for part in form.parts)
    assert (small._rolled, large._rolled) == (False, True)
    form.close()
    assert (small.closed, large.closed) == (True, True)


@pytest.mark.parametrize("body", [BODY[:-9], form_of(("a", "b"), ("a", "c"))])
def test_a_form_that_is_refused_leaves_no_file(body, monkeypatch):
    made = []

    def spooled(*args):
        made.append(tempfile.TemporaryFile())  # noqa: SIM115
        return made[-1]

    monkeypatch.setattr(multipart.tempfile, "SpooledTemporaryFile", spooled)
    assert refusal(form_of(("file", "a", "x/y", b"1"), end=False) + body)[0] == 400
    assert made and all(file.closed for file in made)


def test_what_the_client_raises_passes_through_and_leaves_no_file(monkeypatch):
    made = []
    monkeypatch.setattr(multipart.Form, "close", lambda form: made.append(form))

    async def chunks():
        yield BODY[:100]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(read_form(chunks(), TYPE, limit=1_000))
    assert len(made) == 1


PART = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n'.encode()
HOSTILE = {
    "nothing": (b"", 400),
    "no part": (f"--{BOUNDARY}--\r\n".encode(), None),
    "another boundary": (b"--other\r\n\r\n--other--\r\n", 400),
    "cut in a header": (BODY[:40], 400),
    "cut in a file": (BODY[:200], 400),
    "without its end": (form_of(("a", "b"), end=False), 400),
    "no name": (f"--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(), 400),
    "an empty name": (form_of(("", "x")), 400),
    "a long name": (form_of(("a" * 201, "x")), 400),
    "a quote in a name": (form_of(("a%22b", "x")), 400),
    "a line end in a name": (form_of(("a%0D%0Ab", "x")), 400),
    "no disposition": (f"--{BOUNDARY}\r\nX: y\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(), 400),
    "an attachment": (form_of(("a", "b")).replace(b"form-data;", b"attachment;"), 400),
    "a field that is not UTF-8": (form_of(("a", "é")).replace("é".encode(), b"\xff\xfe"), 400),
    "a model given twice": (form_of(("model", "cheap"), ("model", "dear")), 400),
    "a long header": (PART + b"X: " + b"a" * 10_000 + b"\r\n\r\n", 413),
    "a header without an end": (PART + b"a" * 10_000, 413),
    "many headers": (PART + b"X: y\r\n" * 100 + b"\r\n", 413),
    "a million parts": (form_of(*[("a[]", "")] * 300), 413),
    "a wrong length": (PART + b"Content-Length: 5\r\n\r\nx\r\n--" + BOUNDARY.encode() + b"--\r\n", 400),
}


@pytest.mark.parametrize(("body", "status"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_body_is_a_400_or_a_413(body, status):
    if status is None:
        assert read(body).parts == []
        return
    assert refusal(body) in {(400, "invalid_request"), (413, "body_too_large")}
    assert refusal(body)[0] == status
    assert refusal(body, cuts=range(0, len(body), 7))[0] == status


def test_a_body_over_the_limit_is_a_413():
    assert refusal(BODY, limit=len(BODY) - 1) == (413, "body_too_large")
    read(BODY, limit=len(BODY))


def test_a_field_over_its_limit_is_a_413(monkeypatch):
    monkeypatch.setattr(multipart, "MAX_FIELD_BYTES", 5)
    assert refusal(form_of(("a", "123456"))) == (413, "body_too_large")
    read(form_of(("a", "12345")))


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"application/json",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary=""',
        b"multipart/mixed; boundary=a",
        b"multipart/form-data; boundary=\xff",
        b"multipart/form-data; boundary=" + b"a" * 300,
    ],
)
def test_a_content_type_without_a_boundary_is_a_400(content_type):
    assert refusal(BODY, content_type=content_type) == (400, "invalid_request")


def test_a_quoted_boundary_is_read():
    assert read(BODY, content_type=f'Multipart/Form-Data; charset=utf-8; boundary="{BOUNDARY}"'.encode()).parts


def test_an_epilogue_is_not_read():
    body = BODY + b"\r\nmore"
    assert contents(read(body, range(0, len(body), 3))) == contents(read(BODY))


def test_a_filename_cannot_add_a_header():
    form = read(form_of(("file", "a%0D%0AX: y%22\\\\", "x/y", b"1")))
    assert form.parts[0].filename == 'aX: y"'
    assert sent(form.upload(form.description())).values() == form.values()


@pytest.mark.parametrize(
    ("content_type", "form"),
    [(TYPE, True), (b"MULTIPART/form-data ; x=y", True), (b"application/json", False), (b"", False)],
)
def test_what_a_form_is(content_type, form):
    assert is_form(content_type) is form


@given(st.binary(max_size=400), st.data())
def test_any_bytes_are_read_or_refused(noise, data):
    at = data.draw(st.integers(0, len(BODY)))
    try:
        read(BODY[:at] + noise + BODY[at:])
    except RelayError as error:
        assert error.status in (400, 413)  # noqa: PT017
