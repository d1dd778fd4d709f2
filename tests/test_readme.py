"""What the README says is so: its settings are those of the table, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from costrouter.env import VARIABLES
from costrouter.lib.presets import PRESETS
from costrouter.lib.upstreams import KINDS
from relay.endpoints import ENDPOINTS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_settings_are_those_of_the_table() -> None:
    assert rows("Settings") == [
        [f"`{variable.name}`", f"`{variable.default_text}`" if variable.default_text else "–", variable.help]
        for variable in VARIABLES
    ]


def test_providers_are_those_of_the_table() -> None:
    def names(dialects: tuple[str, ...]) -> str:
        return ", ".join(f"`{name}`" for name in dialects) or "–"

    assert rows("Providers") == [
        [
            f"`{kind.name}`",
            kind.label,
            f"`{kind.base_url}`" if kind.base_url else f"e.g. `{kind.example_url}`",
            names(kind.dialects),
            names(kind.others),
            kind.credentials,
        ]
        for kind in KINDS.values()
        if kind.name != "sandbox"
    ]
    assert f"`openai_compatible`: {names(tuple(PRESETS))}." in " ".join(README.split())


def test_endpoints_are_those_of_the_table() -> None:
    assert rows("Endpoints") == [
        [endpoint.category, f"`{endpoint.method} {endpoint.path}`", endpoint.meter or "free"] for endpoint in ENDPOINTS
    ]


@pytest.mark.parametrize("cell", [row[0] for row in rows("Commands")])
def test_commands_and_their_options_exist(cell: str) -> None:
    name = cell.strip("`").split()[0]
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    options = {option for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"--[a-z-]+", cell)) <= options


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", README)) <= targets
    assert {"setup", "run", "test", "bench", "lock"} <= targets


def test_links_lead_somewhere() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"
