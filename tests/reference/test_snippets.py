"""The docs' snippets work as they are pasted: curl in a shell, Python and Node with the official SDKs.

Node's are run where its SDKs are installed (`cd tests/sdk/node && npm ci --ignore-scripts`); where Node alone is, their
syntax is checked.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from costrouter.reference import guides
from costrouter.reference.entries import ENTRIES
from costrouter.reference.marks import KEY
from costrouter.reference.snippets import Reader, filled, snippets_of
from costrouter.reference.snippets.curl import curl, quoted
from costrouter.reference.snippets.literals import js_literal, python_literal
from tests.doubles.docs import FILES, library_fixture, with_real_ids  # noqa: F401

pytestmark = pytest.mark.any_database

MODULES = Path(__file__).resolve().parents[1] / "sdk" / "node" / "node_modules"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
# What a snippet prints, or the file that it writes. The others print something.
PRINTS = {
    "chat.completions": "Hello!",
    "completions": " time, in a quiet village,",
    "responses": "Hello!",
    "messages": "Hello!",
    "messages.count_tokens": "8",
    "gemini.generate": "Hello!",
    "gemini.stream": "Hello!",
    "gemini.count_tokens": "2",
    "gemini.embed": "3",
    "gemini.batch_embed": "2",
    "embeddings": "3",
    "audio.transcriptions": "Hello world.",
    "audio.translations": "Hello world.",
    "realtime": "Hello",
}
WRITES = {
    "images.generations": "image.png",
    "images.edits": "image.png",
    "audio.speech": "speech.mp3",
    "videos.content": "video.mp4",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files that the snippets name, which is the current one."""
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reader(world, relay):
    return Reader(relay.url, world.secret)


def text_of(entry, label, reader, client, library):
    """A snippet as somebody with a key reads it; what is elided in an example is whole."""
    [text] = [snippet.text for snippet in snippets_of(entry) if snippet.label == label]
    return with_real_ids(filled(text, reader), client, library)


def check(name, printed, folder):
    """A snippet did what it says."""
    if name in WRITES:
        assert (folder / WRITES[name]).stat().st_size > 0
    else:
        assert printed.strip() == PRINTS[name].strip() if name in PRINTS else printed.strip()


def shell(command, **options):
    return subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False, **options)


def test_each_curl_works_in_a_shell(world, reader, library, client, folder, subtests):
    for entry in ENTRIES.values():
        with subtests.test(entry.name):
            command = text_of(entry, "curl", reader, client, library).replace("--max-time 5", "--max-time 1")
            done = shell(command.replace("curl ", "curl --silent --show-error --write-out '\\n%{http_code}' ", 1))
            body, _line, status = done.stdout.rpartition(b"\n")
            if entry.is_websocket:
                # It is open, and says hello, until curl has waited long enough.
                assert (done.returncode, status) == (28, b"101")
                assert b'"session.created"' in body
                continue
            assert (done.returncode, status) == (0, b"200"), done.stdout + done.stderr
            if entry.name in WRITES and entry.doc.save_as:
                assert (folder / entry.doc.save_as).stat().st_size > 0
            elif entry.name == "gemini.stream":
                assert body.startswith(b"data: {")
            else:
                json.loads(body)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of models that have an end, of the SDK's own
def test_each_python_program_works_with_the_official_sdk(reader, library, client, folder, subtests):
    for entry in ENTRIES.values():
        with subtests.test(entry.name):
            program = text_of(entry, "Python", reader, client, library)
            printed = io.StringIO()
            with redirect_stdout(printed):
                exec(compile(program, entry.name, "exec"), {"__name__": "__main__"})
            check(entry.name, printed.getvalue(), folder)


# Starting Node takes most of the time, so it is started once for all modules.
CHECK_ALL = """
import vm from "node:vm";
import fs from "node:fs";
for (const file of process.argv.slice(2)) new vm.SourceTextModule(fs.readFileSync(file, "utf8"), { identifier: file });
"""
RUN_ALL = """
import { pathToFileURL } from "node:url";
for (const file of process.argv.slice(2)) {
  process.stdout.write("\\0");
  await import(pathToFileURL(file));
}
"""


def node(folder, script, modules, *options):
    """What is printed, module by module, by a script that is given them all."""
    (folder / "all.mjs").write_text(script)
    for number, text in enumerate(modules):
        (folder / f"{number}.mjs").write_text(text)
    files = [folder / f"{number}.mjs" for number in range(len(modules))]
    done = subprocess.run(
        ["node", *options, "all.mjs", *files], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\0")[1:]


@needs_node
def test_the_syntax_of_each_node_module_is_right(tmp_path):
    reader = Reader("https://relay.example")
    modules = [filled(snippets_of(entry)[2].text, reader) for entry in ENTRIES.values()]
    node(tmp_path, CHECK_ALL, modules, "--experimental-vm-modules")
    with pytest.raises(AssertionError, match="SyntaxError"):
        node(tmp_path, CHECK_ALL, ["const response = await client.create({;"], "--experimental-vm-modules")


@needs_node
@pytest.mark.skipif(not MODULES.is_dir(), reason="Node's clients are not installed")
def test_each_node_module_works_with_the_official_sdk(reader, library, client, folder, subtests):
    (folder / "node_modules").symlink_to(MODULES)
    # What goes on after its module was read comes last.
    entries = sorted(ENTRIES.values(), key=lambda entry: entry.is_websocket)
    said = node(folder, RUN_ALL, [text_of(entry, "Node", reader, client, library) for entry in entries])
    for entry, printed in zip(entries, said, strict=True):
        with subtests.test(entry.name):
            check(entry.name, printed, folder)


def test_the_streaming_guide_works(reader, library, folder):
    shown = {snippet.label: filled(snippet.text, reader) for snippet in guides.STREAMING}
    done = shell(shown["curl"].replace("curl ", "curl --silent ", 1))
    assert done.stdout.rstrip().endswith(b"data: [DONE]")
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(shown["Python"], {})
    assert printed.getvalue() == "Hello!"
    if shutil.which("node") and MODULES.is_dir():
        (folder / "node_modules").symlink_to(MODULES)
        (folder / "stream.mjs").write_text(shown["Node"])
        said = subprocess.run(["node", "stream.mjs"], capture_output=True, text=True, timeout=60, check=False)
        assert (said.stdout, said.returncode) == ("Hello!", 0), said.stderr


def test_a_snippet_has_the_readers_address_key_and_model():
    chat, images = ENTRIES["chat.completions"], ENTRIES["images.generations"]
    reader = Reader("https://relay.example", "sk-" + "a" * 48, "org/small:free")
    for snippet in snippets_of(chat):
        text = filled(snippet.text, reader)
        assert "https://relay.example/v1" in text and reader.key in text and '"org/small:free"' in text
        assert KEY not in text and "gpt-4o" not in text and "\u2063" not in text
    assert "/v1beta/models/org/small:free:generateContent" in filled(curl(ENTRIES["gemini.generate"]), reader)
    # A model that answers with text makes no images.
    assert '"gpt-image-2"' in filled(curl(images), reader)
    assert "gpt-4o" in filled(curl(chat), Reader("https://relay.example"))


@pytest.mark.parametrize("text", ["it's", "a 'b' c", '$HOME `id` \\ "x"', "plain", "two\nlines", "ünï"])
def test_what_is_quoted_is_one_word_of_a_shell(text):
    assert shell(f"printf %s {quoted(text)}").stdout.decode() == text


VALUES = [
    {},
    [],
    {"a-b": None, "c": [True, False], "d": {"e": 0.00000004, "f": "\"quoted\" \\ 'both' ünï"}},
    {"long": ["word " * 9] * 5, "deep": [[{"x": [1, 2.5, -3]}]]},
]


@pytest.mark.parametrize("value", VALUES)
def test_literals_mean_what_they_say(value):
    assert eval(python_literal(value)) == value


@needs_node
@pytest.mark.parametrize("value", VALUES)
def test_literals_mean_the_same_in_node(value):
    script = f"console.log(JSON.stringify({js_literal(value)}))"
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == value
