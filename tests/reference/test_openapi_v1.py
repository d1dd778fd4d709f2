"""The OpenAPI document of the relay: valid, whole, and as true as the page that is made of the same tables."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from costrouter.reference import errors, openapi
from costrouter.reference.entries import ENTRIES
from costrouter.reference.json_schema import object_schema, type_schema
from costrouter.reference.shapes import Param, need
from relay.endpoints import ENDPOINTS
from relay.errors import ERRORS, RelayError
from relay.protocols.error_shapes import error_body

DOCUMENT = openapi.document("https://relay.example")


def resolve(part: Any) -> Any:
    """What a reference refers to."""
    while "$ref" in part:
        found: Any = DOCUMENT
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, row) for path, item in DOCUMENT["paths"].items() for method, row in item.items()]


def test_it_is_valid():
    jsonschema.Draft202012Validator(OPENAPI_31).validate(json.loads(json.dumps(DOCUMENT)))


def test_every_endpoint_is_in_it_under_each_of_its_paths_and_nothing_else():
    told = {(method.upper(), path) for path, method, _ in operations()}
    assert told == {(row.method, path) for row in ENDPOINTS for path in (row.path, *row.aliases)}
    names = [row["operationId"] for _, _, row in operations()]
    assert len(set(names)) == len(names)
    assert set(ENTRIES) <= set(names)


def test_every_reference_leads_somewhere():
    def walk(part: Any) -> None:
        if isinstance(part, dict):
            if "$ref" in part:
                assert resolve(part)
            for inner in part.values():
                walk(inner)
        elif isinstance(part, list):
            for inner in part:
                walk(inner)

    walk(DOCUMENT)


def test_parameters_of_a_path_are_in_the_path():
    for path, _, row in operations():
        named = {param["name"] for param in row.get("parameters", ()) if param["in"] == "path"}
        assert named == {part.partition("}")[0] for part in path.split("{")[1:]}


@pytest.mark.parametrize("name", ENTRIES)
def test_examples_are_of_their_own_schema(name):
    [row] = [row for _, _, row in operations() if row["operationId"] == name]
    bodies = list(row.get("requestBody", {}).get("content", {}).values())
    bodies += [part for answer in row["responses"].values() for part in resolve(answer).get("content", {}).values()]
    shown = [body for body in bodies if "example" in body]
    for body in shown:
        jsonschema.Draft202012Validator(body["schema"]).validate(body["example"])
    assert shown or ENTRIES[name].is_websocket or ENTRIES[name].doc.save_as


def test_a_schema_refuses_what_lacks_a_field_or_is_of_another_type():
    schema = DOCUMENT["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    right = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    check = jsonschema.Draft202012Validator(schema).is_valid
    assert check(right)
    assert check({**right, "unheard_of": 1})
    assert not check({"model": "m"})
    assert not check({**right, "messages": [{"content": "Hello"}]})
    assert not check({**right, "messages": [{"role": "robot", "content": "Hello"}]})
    assert not check({**right, "messages": "Hello"})
    assert not check({**right, "stream_options": {"include_usage": "yes"}})


def test_schemas_are_made_of_rows():
    rows = (
        need("a", "string", "A", ("x", "y")),
        Param("b[].c", "integer | null", "C", required=True),
        Param("d.e.f", "array<array<integer>>", "F"),
        Param("g[]", "array<string>", "G"),
    )
    assert object_schema(rows) == {
        "type": "object",
        "properties": {
            "a": {"type": "string", "enum": ["x", "y"], "description": "A"},
            "b": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"c": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "C"}},
                    "required": ["c"],
                },
            },
            "d": {
                "type": "object",
                "properties": {
                    "e": {
                        "type": "object",
                        "properties": {
                            "f": {
                                "type": "array",
                                "items": {"type": "array", "items": {"type": "integer"}},
                                "description": "F",
                            }
                        },
                    }
                },
            },
            "g[]": {"type": "array", "items": {"type": "string"}, "description": "G"},
        },
        "required": ["a"],
    }
    assert type_schema("file | object") == {
        "anyOf": [{"type": "string", "contentMediaType": "application/octet-stream"}, {"type": "object"}]
    }


@pytest.mark.parametrize("family", errors.DIALECTS)
def test_every_error_is_of_its_dialects_schema(family):
    check = jsonschema.Draft202012Validator(DOCUMENT["components"]["schemas"][f"{family}_error"])
    for code in ERRORS:
        check.validate(json.loads(error_body(RelayError(code, "no"), errors.DIALECTS[family])))
    others = [name for name in errors.DIALECTS if name != family]
    foreign = [json.loads(error_body(RelayError("not_found", "no"), errors.DIALECTS[name])) for name in others]
    assert not any(check.is_valid(error) for error in foreign)


def test_every_error_that_is_answered_is_told_at_some_endpoint():
    told = " ".join(
        resolve(answer)["description"]
        for _, _, row in operations()
        for status, answer in row["responses"].items()
        if int(status) >= 400
    )
    missing = {code for code in ERRORS if f"`{code}`" not in told}
    # A client that is gone reads nothing; a wrong method meets no operation.
    assert missing == {"client_gone", "method_not_allowed"}


def test_any_key_header_is_a_way_in():
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert [set(row) for row in DOCUMENT["security"]] == [{name} for name in schemes]
    assert {(row.get("in"), row.get("name")) for row in schemes.values()} == {
        (None, None),
        ("header", "x-api-key"),
        ("header", "x-goog-api-key"),
        ("query", "key"),
    }


def test_it_is_served_for_this_site(client_without_database, settings):
    answer = client_without_database.get("/docs/openapi.json", headers={"host": "relay.example"})
    assert answer.status_code == 200
    assert answer["content-type"] == "application/json"
    assert answer["cache-control"] == "public, max-age=300"
    assert not answer.has_header("access-control-allow-origin")
    assert answer.json()["servers"] == [{"url": "http://relay.example"}]
    settings.PUBLIC_URL = "https://api.example"
    assert client_without_database.get("/docs/openapi.json").json()["servers"] == [{"url": "https://api.example"}]


@pytest.fixture
def client_without_database():
    """Nobody in particular: this needs no database, so none is open."""
    from django.test import Client

    return Client()
