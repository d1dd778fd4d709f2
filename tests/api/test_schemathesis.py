"""Schemathesis asks every operation of the management API with data as it should be and as it should not be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from accounts.services import create_organization
from costrouter.api.schema import document
from relay.routing.probe import ProbeResult
from tests.cast.api import Api, cast, new_token
from tests.cast.examples import examples

pytestmark = pytest.mark.any_database

EXAMPLES = examples(12)
CHECKS = [
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
    content_type_conformance,
    negative_data_rejection,
]

_generation = GenerationConfig(
    max_examples=EXAMPLES, deterministic=True, database="none", with_security_parameters=False
)
_config = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=_generation)))
schema = schemathesis.openapi.from_dict(json.loads(json.dumps(document())), config=_config)
schema.app = get_wsgi_application()


def _probe(**asked: Any) -> ProbeResult:
    return ProbeResult(True, 12, 200, asked["model"], "It answered.")


@pytest.fixture
def call(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Ask as an operator who owns the organization, whose rows every other call is about."""
    monkeypatch.setattr(
        "rest_framework.throttling.SimpleRateThrottle.THROTTLE_RATES", dict.fromkeys(("api", "redeem", "reconcile"))
    )
    monkeypatch.setattr("channels_app.health.import_string", lambda _: _probe)
    found = cast()
    found.acme = create_organization(name="Olga's", owner=found.olga)
    real = found.ids()
    plain = {"Accept-Encoding": "identity"}
    by_token = {**plain, "Authorization": f"Bearer {new_token(found.olga, found.acme)[1]}"}
    session = Api(user=found.olga).cookies[settings.SESSION_COOKIE_NAME].value
    csrf = "c" * 32
    by_session = {
        **plain,
        "Cookie": f"sessionid={session}; csrftoken={csrf}",
        "X-CSRFToken": csrf,
        "Referer": "http://localhost/",
    }
    count = 0

    def ask(case: Any) -> None:
        nonlocal count
        count += 1
        if count % 2:
            for name in case.path_parameters or {}:
                case.path_parameters[name] = real[name]
        only_session = all("session" in way for way in case.operation.definition.raw.get("security", []))
        case.call_and_validate(headers=by_session if only_session else by_token, checks=CHECKS)

    # The end of a request would close the connection that the test's own transaction is on.
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield ask
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


@schema.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_no_operation_fails_or_leaves_its_schema(case: Any, call: Callable[[Any], None]) -> None:
    call(case)
