"""Settings of the libraries under the API. `costrouter/settings.py` takes them from here."""

from __future__ import annotations

from typing import Any

VERSION = "1.0"

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        # The first one's header goes with a 401.
        "costrouter.api.authentication.AccessToken",
        "costrouter.api.authentication.Session",
    ],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["costrouter.api.wire.JsonBody"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "costrouter.api.wire.AlwaysJson",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "costrouter.api.schema.Schema",
    "DEFAULT_THROTTLE_CLASSES": [],
    "DEFAULT_THROTTLE_RATES": {"api": "600/min", "redeem": "10/min", "reconcile": "10/hour"},
    "EXCEPTION_HANDLER": "costrouter.api.errors.handle",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "TEST_REQUEST_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "URL_FORMAT_OVERRIDE": None,
}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "CostRouter management API",
    "VERSION": VERSION,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_PATCH": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": ["costrouter.api.schema.finish"],
    "SORT_OPERATIONS": False,
    "SORT_OPERATION_PARAMETERS": False,
    "PATH_CONVERTER_OVERRIDES": {
        "pk": {"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
        "request": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,40}$"},
        "model": {"type": "string", "pattern": "^[!-~]{1,150}$"},
        "statement_month": {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$"},
    },
}
