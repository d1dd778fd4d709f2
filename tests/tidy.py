"""The rules of the house, as functions of a tree: path → source. `tests/test_tidy.py` asks them of ours.

Each gives its findings as lines `path:line: what is wrong`, or `path: …` where the whole file is.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

Tree = Mapping[str, str]
ROOT = Path(__file__).resolve().parents[1]
APPS = ("accounts", "billing", "channels_app", "costrouter", "relay")
MODULES_A_FOLDER = 20
LINES_A_FILE, LINES_A_TEST, LINES_A_FUNCTION = 350, 600, 70
# They say nothing of what is inside.
BANNED = frozenset({"utils", "util", "common", "misc", "helpers", "helper", "stuff", "shared", "lib2"})
# What Django, Celery, gunicorn and people find by name, so that no import leads there.
DOORS = re.compile(
    r"(^|/)(apps|models|admin|tasks|urls|jobs)\.py$|/admin/|/migrations/|/management/commands/|/templatetags/|__init__\.py$"
    r"|^costrouter/(settings|celery|asgi|checks|gunicorn|healthcheck|secretfile)\.py$|/__main__\.py$|/formats/"
)


def our_tree() -> dict[str, str]:
    """Every Python file that git knows, or would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return {name: (ROOT / name).read_text() for name in sorted(set(names)) if (ROOT / name).is_file()}


def product(tree: Tree) -> dict[str, str]:
    """The apps, without migrations: those are history."""
    return {path: text for path, text in tree.items() if path.startswith(APPS) and "/migrations/" not in path}


def crowded(tree: Tree) -> Iterator[str]:
    """Folders of more modules than somebody can look over."""
    counts: dict[str, int] = defaultdict(int)
    for path in tree:
        folder, _, name = path.rpartition("/")
        if name != "__init__.py" and "migrations" not in folder:
            counts[folder] += 1
    for folder, count in sorted(counts.items()):
        if count > MODULES_A_FOLDER:
            yield f"{folder}: {count} modules, more than {MODULES_A_FOLDER}; it wants rooms"


def long_files(tree: Tree) -> dict[str, int]:
    """Files with more lines than one thought has → how many."""
    found = {}
    for path, text in tree.items():
        lines = text.count("\n")
        if lines > (LINES_A_TEST if path.startswith("tests/") else LINES_A_FILE) and "/migrations/" not in path:
            found[path] = lines
    return found


def long_functions(tree: Tree) -> dict[str, int]:
    """Functions that do not fit on a screen, as `path:name` → lines."""
    found = {}
    for path, text in tree.items():
        if "/migrations/" in path:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LINES_A_FUNCTION:
                    found[f"{path}:{node.name}"] = lines
    return found


def badly_named(tree: Tree) -> Iterator[str]:
    """Names that say nothing, and names that say again what their folder says."""
    for path in tree:
        *folders, stem = PurePosixPath(path).with_suffix("").parts
        for part in (*folders, stem):
            if part in BANNED:
                yield f"{path}: {part} says nothing of what is inside"
        above = folders[-1] if folders else ""
        if above and (stem == above or stem.startswith(f"{above}_")):
            yield f"{path}: {above} stands twice in its path"


def without_a_thought(tree: Tree) -> Iterator[str]:
    """Modules that do not say what they are."""
    for path, text in tree.items():
        if text.strip() and "/migrations/" not in path and not ast.get_docstring(ast.parse(text)):
            yield f"{path}: no docstring says its thought"


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(tree: Tree) -> dict[str, dict[str, int]]:
    """File → the files it imports, anywhere in it, → the line. Imports of types alone and late ones count as well."""
    files = {_module(path): path for path in tree}
    found: dict[str, dict[str, int]] = {}
    for path, text in tree.items():
        found[path] = {}
        for node in ast.walk(ast.parse(text)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in files else node.module for name in inner]
            for name in names:
                if name in files and files[name] != path:
                    found[path].setdefault(files[name], node.lineno)  # type: ignore[attr-defined]
    return found


def circles(tree: Tree) -> Iterator[str]:
    """Files that import each other, directly or through others."""
    graph = imports(tree)
    state: dict[str, bool] = {}  # False: being walked; True: walked
    for start in sorted(graph):
        if start in state:
            continue
        state[start] = False
        trail, walks = [start], [iter(sorted(graph[start]))]
        while trail:
            onward = next(walks[-1], None)
            if onward is None:
                state[trail.pop()] = True
                walks.pop()
            elif state.get(onward) is False:
                ring = [*trail[trail.index(onward) :], onward]
                yield f"{trail[-1]}:{graph[trail[-1]][onward]}: a circle, {' → '.join(ring)}"
            elif onward not in state:
                state[onward] = False
                trail.append(onward)
                walks.append(iter(sorted(graph[onward])))


def upward(tree: Tree) -> Iterator[str]:
    """Imports of an app from above it: of `costrouter` an app may know the ground alone."""
    for path, targets in imports(tree).items():
        app = path.partition("/")[0]
        if app in APPS and app != "costrouter":
            for target, line in targets.items():
                if target.startswith("costrouter/") and not target.startswith(("costrouter/lib/", "costrouter/admin/")):
                    yield f"{path}:{line}: {app} imports {target}, which stands above it"


def dead(tree: Tree, other_texts: str = "") -> Iterator[str]:
    """Modules that nothing imports and nothing names."""
    alive = {target for targets in imports(tree).values() for target in targets}
    every = "\n".join([other_texts, *tree.values()])
    for path in tree:
        if path in alive or DOORS.search(path):
            continue
        relative = _module(path).removeprefix("relay.")
        if not re.search(rf"[\"'`]({re.escape(_module(path))}|{re.escape(relative)})[.\"'`:]", every):
            yield f"{path}: nothing leads here"


def bypasses(tree: Tree, pattern: str, owners: tuple[str, ...]) -> Iterator[str]:
    """Lines outside of its owners that do what a hazard's pattern is of."""
    wanted = re.compile(pattern)
    for path, text in tree.items():
        if path not in owners:
            for number, line in enumerate(text.splitlines(), 1):
                if wanted.search(line):
                    yield f"{path}:{number}: only {' and '.join(owners)} may do this: {line.strip()}"
