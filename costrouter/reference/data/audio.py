"""Audio: speech from text, text from speech."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from costrouter.reference.data import parameters
from costrouter.reference.shapes import Binary, Call, Code, Doc, File, Param, need

_MP3 = File("speech.mp3", "audio/mpeg")
_HEAR = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
_FILE = need("file", "file", _("One recording: flac, mp3, mp4, m4a, ogg, wav or webm."))
_TEMPERATURE = Param("temperature", "number", _("From 0 to 1. Higher values guess more freely."))
_OPEN_PY, _OPEN_JS = Code('open("speech.mp3", "rb")'), Code('fs.createReadStream("speech.mp3")')
_FS = ('import fs from "node:fs";',)
_MEASURED = _("The recording is measured here, so that its longest possible cost is held before it is sent on.")

SPEECH = Doc(
    "audio.speech",
    _("Create Speech"),
    _("Reads a text aloud, sent while it is spoken."),
    "OpenAI",
    (
        parameters.MODEL,
        need("input", "string", _("The text to read. Its characters are charged.")),
        need("voice", "string", _("Who reads it, such as alloy, coral, nova or sage.")),
        Param("instructions", "string", _("How to read it.")),
        Param(
            "response_format",
            "string",
            _("The format of the recording."),
            values=("mp3", "opus", "aac", "flac", "wav", "pcm"),
        ),
        Param("speed", "number", _("From 0.25 to 4.")),
        Param("stream_format", "string", _("Bytes, or server-sent events."), values=("audio", "sse")),
    ),
    (),
    Binary("audio/mpeg"),
    Call("client.audio.speech.create", after=('response.write_to_file("speech.mp3")',)),
    Call(
        "client.audio.speech.create",
        after=('fs.writeFileSync("speech.mp3", Buffer.from(await response.arrayBuffer()));',),
        imports=_FS,
    ),
    models=("gpt-4o-mini-tts", "tts-1", "tts-1-hd"),
    request={"model": "gpt-4o-mini-tts", "input": "Hello world", "voice": "alloy"},
    save_as="speech.mp3",
    stream=(
        'data: {"type":"speech.audio.delta","audio":"SUQzBAAAAAAA"}\n\n'
        'data: {"type":"speech.audio.done","usage":{"input_tokens":3,"output_tokens":24,"total_tokens":27}}\n\n'
    ),
    notes=(
        _("A voice of your own is state at the provider, and is refused."),
        _("The answer is bytes, so it has no room for its cost: GET /v1/generation tells it."),
    ),
)

TRANSCRIPTIONS = Doc(
    "audio.transcriptions",
    _("Create Transcription"),
    _("Writes down what is said in a recording, in its own language."),
    "OpenAI",
    (
        parameters.MODEL,
        _FILE,
        Param("language", "string", _("The language that is spoken, as two letters.")),
        Param("prompt", "string", _("A text to guide style and spelling.")),
        Param(
            "response_format",
            "string",
            _("The format of the answer."),
            values=("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
        ),
        _TEMPERATURE,
        Param("timestamp_granularities[]", "array<string>", _("With verbose_json: word, segment, or both.")),
        Param("include[]", "array<string>", _("More to tell: logprobs.")),
        parameters.STREAM,
    ),
    (
        Param("text", "string", _("What was said.")),
        Param("usage", "object", _("Seconds or tokens, as the model counts.")),
        Param("usage.type", "string", _("Which of the two."), values=("duration", "tokens")),
        Param("usage.seconds", "number", _("Of a duration: how long the recording is.")),
        parameters.COST,
    ),
    {"text": "Hello world.", "usage": {"type": "duration", "seconds": 1, "cost": 0.0001}},
    Call("client.audio.transcriptions.create", {"model": Code("MODEL"), "file": _OPEN_PY}, ("print(response.text)",)),
    Call(
        "client.audio.transcriptions.create",
        {"model": Code("MODEL"), "file": _OPEN_JS},
        ("console.log(response.text);",),
        _FS,
    ),
    models=(*_HEAR, "gpt-transcribe"),
    request={"model": "whisper-1", "file": _MP3},
    form=True,
    stream=(
        'data: {"type":"transcript.text.delta","delta":"Hello"}\n\n'
        'data: {"type":"transcript.text.done","text":"Hello world.","usage":{"type":"tokens","input_tokens":14,'
        '"output_tokens":5,"total_tokens":19}}\n\n'
    ),
    notes=(_("Charged by the second, or by tokens, as the model's price says."), _MEASURED, parameters.ANSWER_HEADERS),
)

TRANSLATIONS = Doc(
    "audio.translations",
    _("Create Translation"),
    _("Writes down in English what is said in a recording of any language."),
    "OpenAI",
    (
        parameters.MODEL,
        _FILE,
        Param("prompt", "string", _("A text, in English, to guide style and spelling.")),
        Param(
            "response_format",
            "string",
            _("The format of the answer."),
            values=("json", "text", "srt", "verbose_json", "vtt"),
        ),
        _TEMPERATURE,
    ),
    (Param("text", "string", _("What was said, in English.")),),
    {"text": "Hello world."},
    Call("client.audio.translations.create", {"model": Code("MODEL"), "file": _OPEN_PY}, ("print(response.text)",)),
    Call(
        "client.audio.translations.create",
        {"model": Code("MODEL"), "file": _OPEN_JS},
        ("console.log(response.text);",),
        _FS,
    ),
    models=("whisper-1",),
    request={"model": "whisper-1", "file": _MP3},
    form=True,
    notes=(_("Charged by the second, or by tokens, as the model's price says. It is not streamed."), _MEASURED),
)

DOCS = (SPEECH, TRANSCRIPTIONS, TRANSLATIONS)
