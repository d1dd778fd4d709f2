"""The house keeps its rules: small rooms, imports one way, one owner for each hazard, everything documented."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from costrouter.env import VARIABLES
from costrouter.lib.units import UNITS
from relay.endpoints import ENDPOINTS
from relay.error_help import HELP
from relay.errors import ERRORS
from tests import tidy

# The few that are longer than the rules allow, and how long they are. These lists may only shrink.
LONG_FILES: dict[str, int] = {
    "relay/exchange/stream.py": 354,
    "relay/protocols/responses/request.py": 376,
    "relay/realtime/session.py": 365,
    "tests/accounts/test_audit.py": 621,
    "tests/relay/protocols/anthropic/test_conversion.py": 844,
    "tests/relay/protocols/bedrock/test_conversion.py": 891,
    "tests/relay/protocols/gemini/test_conversion.py": 809,
    "tests/relay/videos/test_requests.py": 739,
}
LONG_FUNCTIONS: dict[str, int] = {
    "costrouter/dashboard/checklist.py:_items": 87,
    "tests/billing/test_money_concurrency.py:"
    "test_writers_settlement_sweep_and_operators_agree_and_every_proof_meanwhile_is_clean": 71,
    "tests/browser/stage.py:build": 75,
    "tests/journeys/test_member.py:test_member_journey": 80,
    "tests/relay/protocols/bedrock/test_conversion.py:test_a_whole_request_is_written_like_this": 109,
    "tests/relay/protocols/responses/test_conversion.py:test_a_request_as_codex_sends_it": 80,
}

# hazard → what a line that does it looks like. Its owners stand in docs/architecture.md.
HAZARDS = {
    "Held and spent amounts move": (
        r"\b(held|spent|balance)_nanos\s*=\s*(F\(|v\.|held_nanos|spent_nanos|balance_nanos)"
        r"|\b(wallet|budget|locked)\.(held|spent|balance)_nanos\s*[-+]?=[^=]|UPDATE billing_(wallet|budget)"
    ),
    "Where a URL may lead is decided": r"\bipaddress\b|\.is_(private|global|loopback|link_local)\b",
    "Upstream connections are opened": (
        r"ClientSession\(|TCPConnector\(|httpx\.(Client|AsyncClient)\(|httpx\.(get|post|put|request|stream)\("
        r"|urlopen\(|^\s*(import|from) (requests|urllib3)\b|open_connection\(|HTTPSConnection\("
    ),
    "Secrets of channels are read or kept out of what is shown": (
        r"MultiFernet|decrypt\([^)]*credentials_encrypted|def (echoes|parts_of)\("
    ),
    "Tasks are created on the event loop": (
        r"(asyncio|loop\(?\)?)\.create_task\(|ensure_future\(|run_coroutine_threadsafe\("
    ),
    "A price becomes a cost": r"Fraction\(.*NANOS_PER_USD",
    "A key becomes a hash": r"\bimport hmac\b|\bhmac\.",
    "Errors get their shape for a client": r"encode\(\{\"error\":|encode\(\{\"type\": \"error\", \"error\":",
    "The environment is read": r"os\.environ\.get\(|os\.environ\[|\bgetenv\(",
}


@pytest.fixture(scope="module")
def tree() -> dict[str, str]:
    return tidy.our_tree()


@pytest.fixture(scope="module")
def product(tree: dict[str, str]) -> dict[str, str]:
    return tidy.product(tree)


def _owners() -> dict[str, tuple[str, ...]]:
    """hazard → files, from the table in docs/architecture.md."""
    text = (tidy.ROOT / "docs/architecture.md").read_text().partition("\n## Owners\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {row[0].strip(): tuple(re.findall(r"`([\w/]+\.py)`", row[1])) for row in rows if row[0].strip() != "hazard"}


def test_a_folder_can_be_looked_over(tree: dict[str, str]):
    assert list(tidy.crowded(tree)) == []


def test_a_file_is_one_thought(tree: dict[str, str]):
    assert tidy.long_files(tree) == LONG_FILES


def test_a_function_fits_on_a_screen(tree: dict[str, str]):
    assert tidy.long_functions(tree) == LONG_FUNCTIONS


def test_names_say_what_is_inside_and_say_it_once(product: dict[str, str]):
    assert list(tidy.badly_named(product)) == []


def test_every_module_says_its_thought(tree: dict[str, str]):
    assert list(tidy.without_a_thought(tree)) == []


def test_no_files_import_each_other_in_a_circle(tree: dict[str, str]):
    assert list(tidy.circles(tree)) == []


def test_apps_know_nothing_of_what_stands_above_them(product: dict[str, str]):
    assert list(tidy.upward(product)) == []


def test_every_module_is_used(product: dict[str, str]):
    assert list(tidy.dead(product)) == []


def test_hazards_are_those_of_the_architecture_page():
    assert list(_owners()) == list(HAZARDS)


@pytest.mark.parametrize("hazard", HAZARDS)
def test_a_hazard_has_one_owner(hazard: str, product: dict[str, str]):
    owners = _owners()[hazard]
    assert list(tidy.bypasses(product, HAZARDS[hazard], owners)) == []
    does = [path for path in owners if re.search(HAZARDS[hazard], product[path], re.MULTILINE)]
    assert does, "the pattern finds not even its owner"


def _documented(name: str, *files: str) -> bool:
    return any(re.search(rf"[`|\"' ]{re.escape(name)}[`|\"' ]", (tidy.ROOT / file).read_text()) for file in files)


def test_settings_commands_errors_units_and_endpoints_are_documented():
    commands = [
        path.stem
        for app in tidy.APPS
        for path in (tidy.ROOT / app / "management" / "commands").glob("*.py")
        if path.stem != "__init__"
    ]
    missing = [
        *(row.name for row in VARIABLES if not _documented(row.name, "README.md")),
        *(name for name in commands if not _documented(name, "README.md")),
        *(row.path for row in ENDPOINTS if not _documented(f"{row.method} {row.path}", "README.md")),
        *(name for name in UNITS if not _documented(name, "docs/money.md")),
        *sorted(set(ERRORS) ^ set(HELP)),
    ]
    assert missing == []


# Each rule, and the smallest trees that break it: a rule that finds nothing here finds nothing there.
_LONG = "def long():\n" + "    pass\n" * 71
PLANTED: dict[str, tuple[Callable[[dict[str, str]], Iterator[str] | dict[str, int]], dict[str, str], str]] = {
    "a crowded folder": (tidy.crowded, {f"relay/room/m{n}.py": "" for n in range(25)}, "relay/room: 25 modules"),
    "a long file": (tidy.long_files, {"relay/long.py": "\n" * 351}, "relay/long.py"),
    "a long test": (tidy.long_files, {"tests/long.py": "\n" * 601}, "tests/long.py"),
    "a long function": (tidy.long_functions, {"relay/a.py": _LONG}, "relay/a.py:long"),
    "a banned name": (tidy.badly_named, {"relay/utils.py": ""}, "relay/utils.py: utils"),
    "a name that says it twice": (tidy.badly_named, {"relay/gemini/gemini_stream.py": ""}, "gemini stands twice"),
    "no docstring": (tidy.without_a_thought, {"relay/a.py": "A = 1\n"}, "relay/a.py: no docstring"),
    "a circle of three": (
        tidy.circles,
        {
            "relay/a.py": "import relay.b",
            "relay/b.py": "def late():\n    from relay import c",
            "relay/c.py": "from relay.a import x",
        },
        "relay/c.py:1: a circle, relay/a.py → relay/b.py → relay/c.py → relay/a.py",
    ),
    "an upward import": (
        tidy.upward,
        {"billing/a.py": "\nfrom costrouter.console import menu", "costrouter/console/menu.py": ""},
        "billing/a.py:2: billing imports costrouter/console/menu.py",
    ),
    "a dead module": (tidy.dead, {"relay/a.py": "", "relay/asgi.py": "import relay.c"}, "relay/a.py: nothing"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_each_rule_finds_what_is_planted(what: str):
    rule, planted, expected = PLANTED[what]
    assert any(expected in finding for finding in rule(planted))


@pytest.mark.parametrize(
    ("hazard", "line"),
    [
        ("Held and spent amounts move", 'wallets.update(held_nanos=F("held_nanos") + 1)'),
        ("Held and spent amounts move", "    wallet.balance_nanos -= cost"),
        ("Where a URL may lead is decided", "if ipaddress.ip_address(host).is_private:"),
        ("Upstream connections are opened", "response = httpx.get(url)"),
        ("Secrets of channels are read or kept out of what is shown", "MultiFernet(keys).decrypt(text)"),
        ("Tasks are created on the event loop", "asyncio.create_task(work())"),
        ("A price becomes a cost", "cost = Fraction(price) * NANOS_PER_USD * tokens"),
        ("A key becomes a hash", "digest = hmac.digest(secret, key, 'sha256')"),
        ("Errors get their shape for a client", 'body = msgspec.json.encode({"error": {"message": text}})'),
        ("The environment is read", 'os.environ["SECRET_KEY"]'),
    ],
)
def test_a_second_owner_is_named_with_its_line(hazard: str, line: str):
    found = list(tidy.bypasses({"relay/a.py": f"\n{line}\n"}, HAZARDS[hazard], _owners()[hazard]))
    assert [finding.partition(": ")[0] for finding in found] == ["relay/a.py:2"]
