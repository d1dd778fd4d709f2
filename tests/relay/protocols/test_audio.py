"""Speech, transcriptions and translations: characters, seconds, tokens; and how long a recording really is."""

from __future__ import annotations

import io
import json
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.entry.audio_length import measure
from relay.errors import RelayError
from relay.protocols import DIALECTS
from relay.protocols.audio.speech import SpeechReader
from relay.protocols.audio.transcriptions import TranscriptReader
from relay.protocols.base import Target
from tests.doubles.recordings import KINDS, recording, two_streams, with_lying_timestamps

SPEECH, TRANSCRIPTIONS, TRANSLATIONS = (DIALECTS[name] for name in ("speech", "transcriptions", "translations"))


def seconds(data):
    return measure(io.BytesIO(data), len(data))


def unreadable(data):
    with pytest.raises(RelayError) as refused:
        seconds(data)
    return refused.value.status, refused.value.code, refused.value.param


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_recording_of_each_format_is_as_long_as_it_sounds(kind):
    assert seconds(recording(kind, 1)) == 1
    assert seconds(recording(kind, 20)) == 20


def test_a_recording_that_waits_on_disk_is_read_from_there():
    with tempfile.SpooledTemporaryFile(100) as file:
        file.write(recording("m4a", 20))
        assert measure(file, file.tell()) == 20


def test_of_several_streams_the_longest_counts():
    assert seconds(two_streams("m4a", 2, 20)) == 20


def test_timestamps_that_lie_shorten_nothing():
    assert seconds(with_lying_timestamps(recording("m4a", 20))) == 20


def test_a_length_that_lies_shortens_nothing():
    flac = bytearray(recording("flac", 20))
    flac[21:26] = (int.from_bytes(flac[21:26]) >> 36 << 36 | 48_000).to_bytes(5)  # total samples: one second
    assert seconds(bytes(flac)) == 20


def test_a_recording_that_is_hidden_behind_a_short_one_is_refused():
    wav = bytearray(recording("wav", 30))
    at = wav.index(b"data") + 4
    wav[at : at + 4] = (96_000).to_bytes(4, "little")
    assert unreadable(bytes(wav)) == (400, "invalid_request", "file")


def test_a_broken_recording_counts_what_is_there():
    data = bytearray(recording("mp3", 20))
    data[5_000:5_100] = bytes(100)
    assert 19 <= seconds(bytes(data)) <= 21
    assert 8 <= seconds(recording("mp3", 20)[: len(data) // 2]) <= 11


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
NOT_AUDIO = {
    "nothing": b"",
    "text": b"hello" * 1_000,
    "a playlist": PLAYLIST,
    "a list of files": b"ffconcat version 1.0\nfile /etc/hostname\n",
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(500),
    "a header alone": recording("wav", 1)[:44],
    "zeros": bytes(10_000),
}


@pytest.mark.parametrize("data", NOT_AUDIO.values(), ids=list(NOT_AUDIO))
def test_what_is_no_recording_is_refused(data):
    assert unreadable(data) == (400, "invalid_request", "file")


def test_a_recording_that_is_too_long_is_refused(monkeypatch):
    monkeypatch.setattr("relay.entry.audio_length.MAX_SECONDS", 10)
    assert seconds(recording("mp3", 3)) == 3
    assert unreadable(recording("mp3", 20)) == (400, "invalid_request", "file")


def test_a_recording_that_takes_too_long_to_read_is_refused(monkeypatch):
    monkeypatch.setattr("relay.entry.audio_length.MAX_WORK_SECONDS", 0.0)
    assert unreadable(recording("mp3", 20)) == (400, "invalid_request", "file")


# Speech


def say(**fields):
    return SPEECH.parse(json.dumps({"model": "tts", "input": "héllo 😀", "voice": "alloy", **fields}).encode(), "")


def refusal(call, **fields):
    with pytest.raises(RelayError) as refused:
        call(**fields)
    assert refused.value.status == 400
    return refused.value.code, refused.value.param


def test_speech_is_charged_by_the_character():
    request = say(instructions="sad")
    assert (request.pieces, request.text_bytes) == ({"characters": 7}, 11 + 3)
    assert (request.stream, request.output, request.options) == (True, False, False)
    assert say(stream_format="sse").pieces == {"characters": 7, "audio_out": 92}


@pytest.mark.parametrize(
    ("name", "value"),
    [("input", None), ("input", ""), ("input", ["a"]), ("instructions", 5), ("stream_format", "x"), ("model", 1)],
)
def test_a_field_of_speech_of_another_kind_is_named(name, value):
    assert refusal(say, **{name: value}) == ("invalid_request", name)


def test_a_voice_that_is_stored_upstream_is_refused():
    assert refusal(say, voice={"id": "voice_1"}) == ("stored_state", "voice")


def test_the_body_of_speech_travels_on():
    assert json.loads(SPEECH.body(say(speed=1.5, input="a"), Target("there"))) == {
        "model": "there",
        "input": "a",
        "voice": "alloy",
        "speed": 1.5,
    }


def hear(*chunks, **fields):
    reader = SpeechReader(say(**fields), lambda units: "0")
    return reader, [reader.read(chunk) for chunk in chunks]


def test_of_a_recording_the_last_chunk_waits_for_its_charge():
    reader, out = hear(b"ID3", b"\n\n\x00", b"end")
    assert (out, reader.started, reader.done) == ([b"", b"ID3", b"\n\n\x00"], True, False)
    reader.read_rest(b"")
    assert (reader.done, reader.finished, reader.units) == (True, True, {"input": 3, "characters": 7})
    assert reader.last({}, "1") == (b"", b"end")


def test_an_empty_recording_is_none():
    reader, _ = hear()
    reader.read_rest(b"")
    assert (reader.started, reader.done) == (False, False)


def test_an_error_instead_of_a_recording():
    reader, out = hear(b'{"error": {"message": "no"}}')
    assert (reader.failed, out) == (True, [b""])
    reader.read_rest(b"")
    assert reader.done is False


DELTA = b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\n'
SPOKEN = b'data: {"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}\n\n'
TOLD = {"input": 14, "audio_out": 101, "characters": 7}


@pytest.mark.parametrize("cuts", [[], [3], [len(DELTA)], [len(DELTA) + 5], list(range(1, len(DELTA + SPOKEN)))])
def test_of_events_the_last_waits_for_its_charge(cuts):
    whole, chunks, start = DELTA + SPOKEN, [], 0
    for end in [*cuts, len(whole)]:
        chunks.append(whole[start:end])
        start = end
    reader, out = hear(*chunks, stream_format="sse")
    assert (b"".join(out), reader.done, reader.units) == (DELTA, True, TOLD)
    assert reader.last({}, "1") == (b"", SPOKEN)


def test_events_whose_last_no_blank_line_ended():
    reader, _ = hear(DELTA + SPOKEN[:-2], stream_format="sse")
    assert reader.done is False
    reader.read_rest(b"")
    assert (reader.done, reader.units) == (True, TOLD)


def test_events_without_an_end_are_cut():
    reader, _ = hear(DELTA + SPOKEN[:40], stream_format="sse")
    reader.read_rest(b"")
    assert (reader.started, reader.done, reader.finished) == (True, False, False)


@pytest.mark.parametrize("usage", [b"null", b"[]", b"{}", b'{"input_tokens":-1,"output_tokens":1}', b'"x"'])
def test_events_that_tell_no_usage_are_estimated(usage):
    reader, _ = hear(b'data: {"type":"speech.audio.done","usage":' + usage + b"}\n\n", stream_format="sse")
    assert (reader.done, reader.units) == (True, None)


def test_an_error_event_fails():
    reader, out = hear(b'data: {"error":{"message":"no"}}\n\n', stream_format="sse")
    assert (reader.failed, out) == (True, [b""])


def test_a_recording_that_was_read_whole():
    answer = SPEECH.read_answer(b"ID3\x00", say())
    assert (answer.units, answer.content_type) == ({"input": 3, "characters": 7}, b"")
    assert answer.render({}, "1") == b"ID3\x00"
    assert SPEECH.read_answer(b"", say()) is None
    assert SPEECH.read_answer(b'{"error":{}}', say()) is None


@given(st.lists(st.binary(max_size=50), max_size=5), st.sampled_from(["sse", "audio"]))
def test_no_bytes_break_the_reader(chunks, form):
    reader, out = hear(*[chunk for chunk in chunks if chunk], stream_format=form)
    rest = reader.read_rest(b"")
    if form == "audio" and reader.done:
        assert b"".join(out) + rest + reader.last({}, "1")[1] == b"".join(chunks)


# Transcriptions

FILE = {"filename": "a.mp3", "content_type": "audio/mpeg", "size": 9, "seconds": 90}
TOKENS = {
    "type": "tokens",
    "input_tokens": 914,
    "input_token_details": {"text_tokens": 14, "audio_tokens": 900},
    "output_tokens": 45,
    "total_tokens": 959,
}
BY_TOKENS = {"input": 14, "audio_in": 900, "output": 45}


def hand_in(dialect=TRANSCRIPTIONS, **fields):
    return dialect.parse(json.dumps({"model": "whisper-1", "file": FILE, **fields}).encode(), "")


def test_a_transcription_is_held_for_by_seconds_and_by_tokens():
    request = hand_in(prompt="abc", language="en", **{"keywords[]": ["x", "yz"]})
    assert request.pieces == {"audio_in": 1_500, "seconds": 90}
    assert (request.text_bytes, request.cap, request.output, request.stream) == (6, 976, True, False)


@pytest.mark.parametrize(
    "file", [None, "text", [FILE, FILE], [], {"filename": "a"}, {"seconds": 0}, {"seconds": "9"}, 5]
)
def test_a_transcription_needs_one_recording_that_was_measured(file):
    assert refusal(hand_in, file=file) == ("invalid_request", "file")


def test_another_file_is_refused():
    assert refusal(hand_in, other=FILE) == ("unsupported_field", "other")


def test_samples_of_speakers_are_not_text():
    request = hand_in(**{"known_speaker_references[]": ["data:audio/wav;base64,AAAA"], "known_speaker_names[]": ["Al"]})
    assert request.text_bytes == 2


def test_a_translation_is_not_streamed():
    assert refusal(lambda: hand_in(TRANSLATIONS, stream="true")) == ("unsupported_field", "stream")
    assert hand_in(TRANSLATIONS, stream="false").pieces == {"audio_in": 1_500, "seconds": 90}


def test_only_the_model_changes_on_the_way():
    body = TRANSCRIPTIONS.body(hand_in(temperature="0"), Target("there"))
    assert json.loads(body) == {"model": "there", "file": FILE, "temperature": "0"}


def heard(body, **fields):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return TRANSCRIPTIONS.read_answer(body, hand_in(**fields))


ANSWERS = [
    ({"text": "hi", "usage": TOKENS}, BY_TOKENS),
    ({"text": "hi", "usage": {**TOKENS, "input_token_details": None}}, {"input": 0, "audio_in": 914, "output": 45}),
    ({"text": "hi", "usage": {"type": "duration", "seconds": 88.2}}, {"audio_in": 1_484, "seconds": 89}),
    ({"text": "hi", "duration": 88.0, "segments": []}, {"audio_in": 1_467, "seconds": 88}),
    (
        {"text": "hi", "duration": 88.0, "usage": {"type": "duration", "seconds": 60}},
        {"audio_in": 1_000, "seconds": 60},
    ),
    ({"text": "hi"}, None),
    ({"text": "hi", "usage": {"type": "duration", "seconds": -5}}, None),
    ({"text": "hi", "usage": {"type": "duration", "seconds": "5"}}, None),
    ({"text": "hi", "duration": 1e300}, None),
]


@pytest.mark.parametrize(("body", "units"), ANSWERS)
def test_an_answer_tells_seconds_or_tokens(body, units):
    answer = heard(body)
    assert (answer.units, answer.texts, answer.content_type) == (units, ["hi"], b"")
    shown = json.loads(answer.render({}, "0.5"))
    assert shown == ({**body, "usage": {**body["usage"], "cost": 0.5}} if "usage" in body else body)


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_a_plain_answer_goes_on_as_it_is(form):
    body = b"1\n00:00:00,000 --> 00:00:01,000\nhi\n\n"
    answer = heard(body, response_format=form)
    assert (answer.units, answer.texts, answer.render({}, "1")) == (None, [body.decode()], body)
    assert heard(b'{"error":{"message":"no"}}', response_format=form) is None
    assert heard(b"", response_format=form) is None


@pytest.mark.parametrize("body", [b"", b"hi", b"[]", b"{}", b'{"text":5}', b'{"text":"","error":{}}', b"\xff"])
def test_a_body_that_is_no_transcript(body):
    assert heard(body) is None


SAID = b'data: {"type":"transcript.text.delta","delta":"hi"}\n\n'
SEGMENT = b'data: {"type":"transcript.text.segment","id":"s","text":"hi","speaker":"A"}\n\n'
DONE = b"data: " + json.dumps({"type": "transcript.text.done", "text": "hi", "usage": TOKENS}).encode() + b"\n\n"


def listen(*events, **fields):
    reader = TranscriptReader(hand_in(stream="true", **fields), lambda units: "0")
    return reader, b"".join(map(reader.read, events))


def test_the_end_of_a_transcript_waits_for_its_charge():
    reader, out = listen(SAID, SEGMENT, DONE)
    assert (out, reader.done, reader.finished, reader.units) == (SAID + SEGMENT, True, True, BY_TOKENS)
    assert (reader.texts, reader.last({}, "1")) == (["hi"], (b"", DONE))


def test_a_transcript_that_is_cut_is_not_finished():
    reader, _ = listen(SAID)
    assert reader.read_rest(DONE[:30] + b"\n\n") == b""
    assert (reader.started, reader.done, reader.finished) == (True, False, False)


@pytest.mark.parametrize("rest", [DONE, DONE[:-2]])
def test_a_last_event_that_no_blank_line_ended(rest):
    reader, _ = listen(SAID)
    reader.read_rest(rest)
    assert (reader.done, reader.units) == (True, BY_TOKENS)


@pytest.mark.parametrize(
    ("form", "events", "rest", "text"),
    [
        ("json", [], b'{"text":"hi","usage":{"type":"duration","seconds":9}}\n\n', "hi"),
        ("json", [b'{\n"text":\n\n', b'"hi", "duration": 9}\n\n'], b"", "hi"),
        ("srt", [b"1\n00:00\nhi\n\n"], b"2\n00:01\nho\n\n", "1\n00:00\nhi\n\n2\n00:01\nho"),
    ],
)
def test_an_upstream_that_does_not_stream_is_told_as_one_event(form, events, rest, text):
    reader, out = listen(*events, response_format=form)
    assert (out, reader.read_rest(rest)) == (b"", b"")
    assert (reader.started, reader.done, reader.texts) == (True, True, [text])
    now, held = reader.last({}, "1")
    assert (now, json.loads(held.split(b"data: ")[1])) == (b"", {"type": "transcript.text.done", "text": text})
    assert reader.units == ({"audio_in": 150, "seconds": 9} if form == "json" else None)


def test_an_error_in_a_stream_fails():
    reader, out = listen(b'data: {"error":{"message":"no"}}\n\n')
    assert (reader.failed, out) == (True, b"")
    reader, _ = listen()
    reader.read_rest(b'{"error":{}}\n\n')
    assert (reader.started, reader.done) == (False, False)


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_no_event_breaks_the_transcript(noise):
    reader, _ = listen(*noise, *[b"data: " + one + b"\n\n" for one in noise])
    reader.read_rest(b"")
