"""What the documents say of the code is so: paths, targets, tests, the map of rooms, and each recipe's steps."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rest_framework.views import APIView

from billing.pricing.rates import INPUT_UNITS
from costrouter.api import urls as api_urls
from costrouter.console import urls as console_urls
from costrouter.console.logs.text import OUTPUT_UNITS
from costrouter.env import VARIABLES
from costrouter.lib import upstreams
from costrouter.lib.units import UNITS, per_text
from relay.endpoints import ENDPOINTS
from relay.exchange.convert import NEAREST
from relay.protocols import DIALECTS
from relay.protocols.error_shapes import family
from relay.reading.account import _OUTPUT_UNITS
from relay.reading.models_list import _PRICE_NAMES
from relay.upstream.providers import PROVIDERS
from tests.browser.site import PAGES
from tests.relay.protocols.test_conversions import CANS

pytestmark = pytest.mark.any_database

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md", "THREAT_MODEL.md", "docs/adr/0014-rooms.md")
TEXTS = {name: (ROOT / name).read_text() for name in DOCUMENTS}
ARCHITECTURE, THREATS = TEXTS["docs/architecture.md"], TEXTS["THREAT_MODEL.md"]
CODED = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.][\w./-]*")
SUFFIXES = (".py", ".md", ".toml", ".txt", ".yaml", ".html", ".css", ".js")
# Folders that are no rooms.
NO_ROOMS = {"migrations", "__pycache__"}
APPS = ("relay", "costrouter", "billing", "accounts", "channels_app")
ROOMS = ("relay", "relay/protocols", "costrouter", "billing", "accounts", "channels_app")
RECIPES = [
    *("Add a provider", "Add a dialect", "Add an endpoint", "Add a unit of price", "Add a setting"),
    *("Add a page of the console", "Add an admin action", "Add an operation of the management API"),
]


def paths(text: str) -> Iterator[str]:
    """What stands in backticks and is meant as a file or a folder of ours, or as a test within one."""
    top = {entry.name for entry in ROOT.iterdir()}
    for found in CODED.findall(text):
        path = found.partition("::")[0]
        if not PATH.fullmatch(path):
            continue
        inside = "/" in path and path.split("/")[0] in top
        if inside or "::" in found or path.endswith((*SUFFIXES, "/")):
            yield found


def problem(found: str) -> str | None:
    """Why a path, or a test as `file::name`, is not there."""
    path, _, name = found.partition("::")
    if "/" not in path and any(file for app in APPS for file in (ROOT / app).rglob(path)):
        return None  # a name that files of several rooms have
    if not (ROOT / path).exists():
        return f"{path} does not exist"
    if name and name not in functions(ROOT / path):
        return f"{path} has no {name}"
    return None


def functions(file: Path) -> set[str]:
    """The names of a file's functions."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds)}


def table(text: str, head: list[str]) -> list[list[str]]:
    """The cells of the table with this head."""
    lines = text.split(f"| {' | '.join(head)} |\n")[1].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_path_is_there(name: str) -> None:
    found = list(paths(TEXTS[name]))

    assert [reason for path in found if (reason := problem(path))] == []
    assert found or name == "SECURITY.md"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXTS[name]):
        assert target.startswith("http") or ((ROOT / name).parent / target).exists(), target


def test_every_make_target_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = {target for text in TEXTS.values() for target in re.findall(r"(?:`|\$ )make ([a-z-]+)", text)}

    assert said - targets == set()
    assert {"run", "lint", "test"} <= said


def test_every_room_is_on_the_map() -> None:
    the_map = ARCHITECTURE.split("\n## The map\n")[1].split("\n## ")[0]
    rooms = [
        f"{parent}/{folder.name}/"
        for parent in ROOMS
        for folder in sorted((ROOT / parent).iterdir())
        if (folder / "__init__.py").exists() and folder.name not in NO_ROOMS
    ]
    dialects = next(
        contract["layers"][1]
        for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == ["relay.protocols"]
    )

    assert [room for room in rooms if f"`{room}`" not in the_map] == []
    assert len(rooms) > 30
    for room in rooms:
        if room.startswith("relay/protocols/") and room.count("/") == 3:
            assert room.split("/")[2] in dialects.split(" : ")


def test_the_hazards_have_owners() -> None:
    rows = table(ARCHITECTURE, ["hazard", "owner", "checked by"])

    assert [row[0] for row in rows] == [
        "Held and spent amounts move",
        "Where a URL may lead is decided",
        "Upstream connections are opened",
        "Secrets of channels are read or kept out of what is shown",
        "Tasks are created on the event loop",
        "A price becomes a cost",
        "A key becomes a hash",
        "Errors get their shape for a client",
        "The environment is read",
    ]
    for row in rows:
        assert list(paths(row[1])), row[0]
        assert any(path.startswith("tests/") for path in paths(row[2])), row[0]


def test_every_threat_names_what_stops_it_and_its_proof() -> None:
    rows = table(THREATS, ["threat", "what stops it", "proven by"])

    assert len(rows) >= 25
    assert len({row[0] for row in rows}) == len(rows)
    for row in rows:
        threat, stops, proof = row
        stopping, proving = list(paths(stops)), list(paths(proof))
        assert stopping and all(not path.startswith("tests/") for path in stopping), threat
        assert proving and all(re.match(r"tests/.*\.py(::test_\w+)?$", path) for path in proving), threat


def recipes() -> dict[str, list[str]]:
    """Recipe → its numbered steps."""
    found = {}
    for part in ARCHITECTURE.split("\n## Recipes\n")[1].split("\n### ")[1:]:
        title, _, text = part.partition("\n")
        numbered = re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]
        found[title] = [step.split("\n\n")[0] for step in numbered]
    return found


def test_every_step_of_a_recipe_names_its_files_and_its_test() -> None:
    found = recipes()

    assert list(found) == RECIPES
    for title, steps in found.items():
        assert len(steps) >= 3, title
        for step in steps:
            what, arrow, test = step.partition("→")
            assert list(paths(what)), (title, step)
            assert arrow and re.fullmatch(r"\s*`tests/[\w/]+\.py::test_\w+`\s*", test), (title, step)


# Add a provider


def test_every_file_of_a_provider_is_in_the_table() -> None:
    folder = ROOT / "relay" / "upstream" / "providers"
    files = {file.stem for file in folder.glob("*.py")} - {"__init__", "base", "faults"}

    assert files == set(PROVIDERS)


def test_every_provider_has_tests_of_its_own() -> None:
    text = (ROOT / "tests" / "relay" / "upstream" / "test_providers.py").read_text()

    # The sandbox is tested in tests/sandbox, and is every end-to-end test's upstream.
    assert [name for name in PROVIDERS if f'        ("{name}", "' not in text] == ["sandbox"]


# Add a dialect


def test_every_dialect_is_spoken_by_a_client() -> None:
    spoken = {endpoint.protocol for endpoint in ENDPOINTS}

    assert set(DIALECTS) - spoken == {"bedrock"}
    # No rows of the table: a list in the caller's own shape, and what has a handler of its own.
    assert spoken - set(DIALECTS) == {"models", "videos", "realtime"}


def test_every_dialect_is_taken_by_a_provider() -> None:
    taken = {dialect for provider in PROVIDERS.values() for dialect in provider.paths}

    assert set(DIALECTS) - taken == set()
    # Upstreams' own words, into which another dialect is converted.
    assert taken - set(DIALECTS) - {"videos", "realtime"} == {"cohere_embed", "videos_minimax"}


def test_every_dialect_has_its_shape_of_errors() -> None:
    """A dialect that nobody names has OpenAI's: these are meant to."""
    openais = {name for name in DIALECTS if family(name) == "openai"}

    assert openais == {
        *("chat", "completions", "responses", "responses_compact", "bedrock", "embeddings", "rerank", "moderations"),
        *("images", "image_edits", "image_variations", "speech", "transcriptions", "translations"),
    }


def test_every_conversation_has_neighbours() -> None:
    converted = {name for name, dialect in DIALECTS.items() if dialect.conversation is not None}

    assert converted == set(upstreams.DIALECTS)
    assert set(NEAREST) == converted - {"bedrock"}
    for name, others in NEAREST.items():
        assert sorted(others) == sorted(converted - {name})


def test_every_conversation_is_converted_in_tests() -> None:
    assert set(CANS) == set(NEAREST)


# Add a unit of price


def test_every_unit_is_explained() -> None:
    rows = table((ROOT / "docs" / "money.md").read_text(), ["unit", "what is counted", "a price is", "without one"])

    assert [(row[0], row[2]) for row in rows] == [(f"`{name}`", per_text(name)) for name in UNITS]
    for row in rows:
        parent = UNITS[row[0].strip("`")].parent
        assert row[3].startswith(f"as `{parent}`") == (parent is not None), row[0]


def test_every_token_is_input_or_output() -> None:
    tokens = {name for name, unit in UNITS.items() if unit.per == UNITS["input"].per}

    assert tokens == {*INPUT_UNITS, *OUTPUT_UNITS, "reasoning"}
    assert {*INPUT_UNITS}.isdisjoint(OUTPUT_UNITS)
    assert OUTPUT_UNITS == _OUTPUT_UNITS


def test_every_unit_has_a_name_in_the_list_of_models() -> None:
    assert set(_PRICE_NAMES) == set(UNITS)
    assert len(set(_PRICE_NAMES.values())) == len(UNITS)


# Add a setting


def test_every_setting_is_used() -> None:
    """Its name stands somewhere else than in its own row."""
    code = [file.read_text() for app in ("costrouter", "relay") for file in (ROOT / app).rglob("*.py")]

    unused = [v.name for v in VARIABLES if sum(text.count(f'"{v.name}"') for text in code) < 2]
    assert unused == []


def test_every_check_of_settings_is_tried() -> None:
    checks = (ROOT / "costrouter" / "checks.py").read_text()
    tried = (ROOT / "tests" / "setup" / "test_settings_checks.py").read_text()

    numbers = re.findall(r'id="costrouter\.(E\d+)"', checks)
    assert len(numbers) == len(set(numbers)) > 10
    assert [number for number in numbers if number not in tried] == []


# Add a page of the console

# URL name → why the table of pages does not have it.
NO_PAGE = {
    **dict.fromkeys(("billing-redeem", "playground-key", "key-enable", "organization-switch"), "a form's target"),
    **dict.fromkeys(("team-invite", "team-withdraw", "team-role", "team-remove"), "a form's target"),
    **dict.fromkeys(("setting-rename", "setting-leave", "setting-token-delete"), "a form's target"),
    "log-tail": "a part of a page",
    "log-export": "CSV",
    "invitation": "it needs the secret of a mail",
}
# Pages for people who are in no organization, or not in this one.
FOR_OTHERS = {"organization-new", "organization-switch", "invitation"}
CONSOLE: dict[str, Any] = {pattern.name: pattern for pattern in console_urls.urlpatterns}


def test_every_page_of_the_console_is_looked_at() -> None:
    shown = [page.path.removeprefix("/console/") for page in PAGES if page.path.startswith("/console/")]
    seen = {name for name, pattern in CONSOLE.items() if any(_leads(pattern, path) for path in shown)}

    assert set(CONSOLE) - seen == set(NO_PAGE)
    assert len(seen) >= 18


def _leads(pattern: Any, path: str) -> bool:
    """Whether a path of the table, with `{…}` in it, is this pattern's and not an earlier one's."""
    filled = path.format(key=1, record="req_1", month="2026-11", model="m", organization=1, channel=1)
    first = next((p for p in console_urls.urlpatterns if p.resolve(filled) is not None), None)
    return first is pattern


def test_every_page_of_the_console_asks_who_is_there() -> None:
    def asks(view: Any) -> bool:
        while view is not None:
            if view.__code__.co_qualname.startswith("console_page."):
                return True
            view = getattr(view, "__wrapped__", None)
        return False

    assert {name for name, pattern in CONSOLE.items() if not asks(pattern.callback)} == FOR_OTHERS


# Add an admin action


def actions() -> list[tuple[str, str, str, ast.expr | None]]:
    """(file, function, last part of its address, its permissions) of every action in the admin."""
    found = []
    for file in sorted([*ROOT.glob("*/admin/*.py"), *ROOT.glob("*/admin.py")]):
        for node in ast.walk(ast.parse(file.read_text())):
            for call in getattr(node, "decorator_list", ()):
                if isinstance(call, ast.Call) and ast.unparse(call.func) in ("admin.action", "action"):
                    given = {word.arg: word.value for word in call.keywords}
                    address = ast.literal_eval(given["url_path"]) if "url_path" in given else ""
                    name = str(file.relative_to(ROOT))
                    found.append((name, node.name, address, given.get("permissions")))
    return found


def test_every_admin_action_says_who_may() -> None:
    found = actions()

    assert len(found) >= 15
    assert [(file, name) for file, name, _, permissions in found if permissions is None] == []
    assert all(ast.literal_eval(permissions) for *_, permissions in found if permissions is not None)


def test_every_admin_action_is_tried() -> None:
    """By its name in a list, by the last part of its address on a page."""
    text = "".join(file.read_text() for file in (ROOT / "tests").rglob("*.py") if file.name != "test_architecture.py")

    missing = [
        (file, name)
        for file, name, address, _ in actions()
        if not re.search(rf'/{address}/|}}{address}/"|"{address}"' if address else rf'"{name}"', text)
    ]
    assert missing == []


# Add an operation of the management API


def test_every_resource_of_the_api_has_a_path() -> None:
    served = {getattr(getattr(p, "callback", None), "view_class", None) for p in api_urls.urlpatterns}
    written = set()
    for room in ("tenant", "operator"):
        for file in (ROOT / "costrouter" / "api" / room).glob("*.py"):
            module = importlib.import_module(f"costrouter.api.{room}.{file.stem}".removesuffix(".__init__"))
            written |= {
                value
                for value in vars(module).values()
                if isinstance(value, type) and issubclass(value, APIView) and value.__module__ == module.__name__
            }

    methods = ("get", "post", "put", "patch", "delete")
    resources = {view for view in written if any(hasattr(getattr(view, m, None), "operation") for m in methods)}
    assert {view.__name__ for view in resources - served} == set()
    assert len(resources) > 40


def test_every_path_of_the_api_is_asked_for_in_tests() -> None:
    """Each word of it, by a test that asks for it by name and not for all there is."""
    files = [file for file in (ROOT / "tests" / "api").glob("test_*.py") if file.name != "test_access.py"]
    text = "".join(file.read_text() for file in files)
    words = {
        word
        for pattern in api_urls.urlpatterns
        if getattr(getattr(pattern, "callback", None), "view_class", None) is not None
        for word in str(pattern.pattern).split("/")
        if re.fullmatch(r"[a-z-]+", word)
    }

    assert [word for word in sorted(words) if not re.search(rf"""["'/]{word}["'/?]""", text)] == []
    assert len(words) > 40
