"""The management API's docs page: it has every operation, its examples are true, and it needs no JavaScript."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from django.test import Client

from accounts.permissions import SCOPES
from costrouter.api import pages
from costrouter.api.errors import CODES
from costrouter.api.samples import BODIES
from costrouter.api.schema import document
from tests.api.test_access import OPERATIONS

pytestmark = pytest.mark.any_database

BY_ID = {declared.id: declared for *_, declared in OPERATIONS}
ENTRIES = [entry for *_, entries in pages.chapters() for entry in entries]


def page() -> str:
    return Client().get("/api/v1/docs/").content.decode()


def test_every_operation_is_on_the_page_once() -> None:
    html = page()

    assert sorted(entry.id for entry in ENTRIES) == sorted(BY_ID)
    for entry in ENTRIES:
        assert html.count(f'<details class="ref-entry" id="{entry.id}"') == 1
    for word in [*SCOPES, *CODES]:
        assert f"<code>{word}</code>" in html


def test_it_has_neither_inline_scripts_nor_styles() -> None:
    html = page()

    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"\sstyle=|\son\w+=", html)


def test_the_address_is_this_sites() -> None:
    html = page()

    assert pages.BASE not in html
    assert "curl http://testserver/api/v1/keys" in html


def test_every_body_is_one_that_the_operation_takes() -> None:
    assert set(BODIES) == {declared.id for declared in BY_ID.values() if declared.body is not None}
    for name, body in BODIES.items():
        taken = BY_ID[name].body(data=body, context={"strict": True})
        assert taken.is_valid(), (name, taken.errors)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_answer_is_one_that_the_schema_allows(entry: pages.Entry) -> None:
    operation = document()["paths"][entry.path][entry.method.lower()]
    if entry.status == "204":
        assert entry.answer == ""
        return
    schema = operation["responses"][entry.status]["content"]["application/json"]["schema"]
    jsonschema.validate(json.loads(entry.answer), {**schema, "components": document()["components"]})
    assert "…" not in entry.answer.replace("sk-…", "").replace("crt_…", "")


def test_every_parameter_is_explained_by_type() -> None:
    params = [param for entry in ENTRIES for param in entry.params]

    assert {param.place for param in params} == {"path", "query", "body"}
    assert all(param.type and param.type != "any" for param in params), [p.name for p in params if p.type == "any"]
