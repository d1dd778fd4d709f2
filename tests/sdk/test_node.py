"""The official clients of Node, where they are installed: `cd tests/sdk/node && npm ci --ignore-scripts`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.sdk.test_pairs import COSTS

NODE = Path(__file__).parent / "node"
HELLO = "Hello there, Zoë! 🌍"
MISSING = {
    "chat": ["NotFoundError", 404, "model_not_found"],
    "responses": ["NotFoundError", 404, "model_not_found"],
    "anthropic": ["NotFoundError", 404, "model_not_found"],
    "gemini": ["ApiError", 404, "model_not_found"],
}
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules").is_dir(), reason="Node's clients are not installed"
)


@pytest.mark.parametrize("client", MISSING)
def test_node(world, relay, everywhere, client):
    models = [f"to-{upstream}" for upstream in everywhere]
    command = ["node", f"{client}.mjs", relay.url, world.secret, *models]
    done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {**{model: [HELLO, HELLO] for model in models}, "nothing": MISSING[client]}
    assert world.prove()["charged_nanos"] == 2 * sum(COSTS.values())
