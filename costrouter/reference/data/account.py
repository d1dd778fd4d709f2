"""What a key may ask of its own account."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from costrouter.reference.shapes import Call, Code, Doc, Param, need

_REQUEST = "req_0192f3a4b5c6d7e8f901a2b3c4d5e6f7"
_CAST = {"cast_to": Code("object")}

GENERATION = Doc(
    "account.generation",
    _("Get Generation"),
    _("Shows one request of your organization: its cost with its arithmetic, usage, route and timing."),
    "CostRouter",
    (need("id", "string", _("The request's ID: x-request-id of its answer."), place="query"),),
    (
        Param("data.id", "string", _("The request's ID.")),
        Param("data.model", "string", _("The model that was asked for.")),
        Param("data.status", "string", _("ok, cancelled, upstream_error, refused, …")),
        Param("data.http_status", "integer", _("What the client was answered.")),
        Param("data.total_cost", "number", _("What it cost, in USD, exactly.")),
        Param("data.lines", "array<object>", _("The arithmetic: quantity, price and rate of each unit.")),
        Param("data.units", "object", _("What was used: unit → quantity.")),
        Param("data.tokens_prompt", "integer", _("Tokens read.")),
        Param("data.tokens_completion", "integer", _("Tokens written.")),
        Param("data.route", "array<object>", _("The channels that were tried: name, outcome, milliseconds.")),
        Param("data.latency", "integer", _("Milliseconds until the first byte of the answer.")),
        Param("data.duration", "integer", _("Milliseconds until its end.")),
        Param("data.estimated", "boolean", _("Whether usage was counted here, since no upstream told it.")),
    ),
    {
        "data": {
            "id": _REQUEST,
            "created_at": "2026-11-23T12:00:00+00:00",
            "endpoint": "chat.completions",
            "model": "gpt-4o",
            "group": "default",
            "status": "ok",
            "http_status": 200,
            "error_code": None,
            "streamed": False,
            "total_cost": 0.00005,
            "units": {"input": 8, "output": 3},
            "tokens_prompt": 8,
            "tokens_completion": 3,
            "route": [{"channel": "OpenAI", "outcome": "ok", "ms": 412}],
            "latency": 398,
            "duration": 412,
            "estimated": False,
        }
    },
    Call("client.get", {"": f"/generation?id={_REQUEST}", **_CAST}, ('print(response["data"]["total_cost"])',)),
    Call("client.get", {"": f"/generation?id={_REQUEST}"}, ("console.log(response.data.total_cost);",)),
    query={"id": _REQUEST},
    notes=(_("A request that is still running answers 404 and says so."),),
)

CREDITS = Doc(
    "account.credits",
    _("Get Credits"),
    _("Shows your organization's money."),
    "CostRouter",
    (),
    (
        Param("data.total_credits", "number", _("All that was ever credited, in USD.")),
        Param("data.total_usage", "number", _("All that was ever charged.")),
        Param("data.balance", "number", _("The difference.")),
        Param("data.held", "number", _("What requests under way may cost.")),
        Param("data.credit_limit", "number", _("How far the balance may fall below zero.")),
        Param("data.available", "number", _("What a request can use now.")),
    ),
    {
        "data": {
            "total_credits": 10,
            "total_usage": 1.25,
            "balance": 8.75,
            "held": 0.02,
            "credit_limit": 0,
            "available": 8.73,
        }
    },
    Call("client.get", {"": "/credits", **_CAST}, ('print(response["data"]["available"])',)),
    Call("client.get", {"": "/credits"}, ("console.log(response.data.available);",)),
)

KEY = Doc(
    "account.key",
    _("Get Key"),
    _("Shows the key that asks: its limits and what it was charged."),
    "CostRouter",
    (),
    (
        Param("data.label", "string", _("The beginning of the key.")),
        Param("data.name", "string", _("Its name.")),
        Param("data.group", "string", _("Its group, which says its models and rate.")),
        Param("data.allowed_models", "array<string>", _("The only models that it may use; empty: all of the group.")),
        Param("data.expires_at", "string | null", _("Until when it works.")),
        Param("data.limit", "number | null", _("Its budget, in USD.")),
        Param("data.limit_remaining", "number | null", _("What is left of that.")),
        Param("data.usage", "number", _("All that it was ever charged.")),
        Param("data.usage_daily", "number", _("The same for today, UTC.")),
        Param("data.usage_monthly", "number", _("The same for this month, UTC.")),
        Param("data.rate_limits", "object", _("Requests and tokens a minute, and requests at the same time.")),
    ),
    {
        "data": {
            "label": "sk-Ab3dE…",
            "name": "Production",
            "group": "default",
            "allowed_models": [],
            "expires_at": None,
            "limit": 100,
            "limit_remaining": 98.75,
            "limit_reset": "monthly",
            "usage": 1.25,
            "usage_daily": 0.1,
            "usage_monthly": 1.25,
        }
    },
    Call("client.get", {"": "/key", **_CAST}, ('print(response["data"]["usage"])',)),
    Call("client.get", {"": "/key"}, ("console.log(response.data.usage);",)),
)

DOCS = (GENERATION, CREDITS, KEY)
