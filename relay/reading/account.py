"""What a key may ask of its own account: one request, the organization's money, the key itself.

Names follow OpenRouter's `/generation`, `/credits` and `/key` (its API reference) where ours mean the same; amounts
are USD, as exact JSON numbers. The database is read in a thread, and only rows of the caller's organization are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
from django.db import DatabaseError, InterfaceError

from accounts import selectors as accounts
from accounts.models import ApiKey
from accounts.selectors import KeyInfo, RateLimits
from billing import selectors as billing
from billing.models import UsageRecord
from billing.pricing.rates import INPUT_UNITS
from billing.reports.spending import Spending, spending_of_key
from billing.selectors import BudgetState, Credits
from costrouter.lib import ids
from costrouter.lib.money import usd_number
from relay.errors import RelayError
from relay.exchange.context import Context
from relay.exchange.reply import Reply, send_reply
from relay.exchange.runtime import Runtime
from relay.snapshot import utc_now
from relay.tasks import in_thread

log = logging.getLogger(__name__)
T = TypeVar("T")
_HEADERS = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_RESETS = {"day": "daily", "week": "weekly", "month": "monthly", "total": None}
_OUTPUT_UNITS = ("output", "audio_out", "image_out")


async def generation(ctx: Context, runtime: Runtime, _: str) -> None:
    """`GET /v1/generation?id=`: one request of the caller's organization. Raises `not_found`."""
    key = _caller(ctx)
    asked = parse_qs(ctx.query).get("id", [""])[-1]
    if not asked:
        raise RelayError("invalid_request", "Say which request: ?id= takes what x-request-id said.", param="id")
    record, under_way = await _read(lambda: _find(key.organization_id, asked))
    if record is None:
        message = "This request is still running." if under_way else "There is no such request."
        raise RelayError("not_found", message, param="id")
    await _send(ctx, generation_data(record))


def _find(organization_id: int, request_id: str) -> tuple[UsageRecord | None, bool]:
    if not ids.may_be_id(request_id):
        return None, False
    under_way = billing.is_under_way(organization_id=organization_id, request_id=request_id)
    return billing.request_record(organization_id=organization_id, request_id=request_id), under_way


async def credits(ctx: Context, runtime: Runtime, _: str) -> None:
    """`GET /v1/credits`: the money of the caller's organization."""
    key = _caller(ctx)
    await _send(ctx, credits_data(await _read(lambda: billing.credits_of(organization_id=key.organization_id))))


async def key(ctx: Context, runtime: Runtime, _: str) -> None:
    """`GET /v1/key`: the key that asks, its limits and what it was charged."""
    info, today = _caller(ctx), utc_now().date()
    row, budgets, spent = await _read(lambda: _about(info, today))
    if row is None:
        raise RelayError("invalid_api_key", "This API key does not exist any more.")
    await _send(ctx, key_data(info, row, budgets, spent))


def _about(info: KeyInfo, today: date) -> tuple[ApiKey | None, list[BudgetState], Spending]:
    organization_id, key_id = info.organization_id, info.id
    return (
        accounts.api_key(organization_id=organization_id, api_key_id=key_id),
        billing.budget_states(organization_id=organization_id, user_id=info.user_id, api_key_id=key_id, today=today),
        spending_of_key(organization_id=organization_id, api_key_id=key_id, today=today),
    )


def _caller(ctx: Context) -> KeyInfo:
    assert ctx.caller is not None
    return ctx.caller.key


async def _read(query: Callable[[], T]) -> T:
    """What a query of the database answers, off the event loop. Raises `unavailable` where it does not."""

    try:
        return await in_thread(query)
    except (DatabaseError, InterfaceError) as error:
        log.warning("an account could not be read: %s", type(error).__name__)
        raise RelayError(
            "unavailable", "The account cannot be read now; try again.", headers={"retry-after": "1"}
        ) from error


async def _send(ctx: Context, data: dict[str, Any]) -> None:
    await send_reply(ctx, Reply(200, list(_HEADERS), msgspec.json.encode({"data": data})))


def _usd(nanos: int) -> msgspec.Raw:
    return msgspec.Raw(usd_number(nanos).encode())


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def generation_data(record: UsageRecord) -> dict[str, Any]:
    """A request: cost, usage, route and timing (milliseconds). What it costs the operator is not shown.

    `native_tokens_*` are the upstream's own counts, as all of ours are. `latency`: until the first byte of the answer;
    where that was not seen, until its end.
    """
    units: dict[str, int] = record.units
    prompt = sum(units.get(name, 0) for name in INPUT_UNITS)
    completion = sum(units.get(name, 0) for name in _OUTPUT_UNITS)
    first, duration = record.first_byte_ms, record.duration_ms
    return {
        "id": record.request_id,
        "created_at": _moment(record.created_at),
        "endpoint": record.endpoint,
        "model": record.model,
        "group": record.group,
        "status": record.status,
        "http_status": record.http_status,
        "error_code": record.error_code or None,
        "streamed": record.streamed,
        "cancelled": record.status == UsageRecord.Status.CANCELLED,
        "estimated": record.estimated,
        "total_cost": _usd(record.cost_nanos),
        "usage": _usd(record.cost_nanos),
        "rate": msgspec.Raw(f"{record.rate:f}".encode()),
        "lines": record.lines,
        "units": units,
        "tokens_prompt": prompt,
        "tokens_completion": completion,
        "native_tokens_prompt": prompt,
        "native_tokens_completion": completion,
        "native_tokens_reasoning": units.get("reasoning", 0),
        "native_tokens_cached": units.get("cache_read", 0),
        "num_search_results": units.get("searches", 0),
        "provider_name": record.channel or None,
        "route": [
            {"channel": attempt.get("name"), "outcome": attempt.get("outcome"), "ms": attempt.get("ms")}
            for attempt in record.attempts
        ],
        "latency": first if first is not None else duration,
        "generation_time": duration - first if duration is not None and first is not None else duration,
        "duration": duration,
        "client_request_id": record.client_request_id or None,
    }


def credits_data(money: Credits) -> dict[str, Any]:
    """`total_credits` − `total_usage` is the balance; balance + credit limit − held is what a request can use."""
    return {
        "total_credits": _usd(money.credited),
        "total_usage": _usd(money.used),
        "balance": _usd(money.balance),
        "held": _usd(money.held),
        "credit_limit": _usd(money.credit_limit),
        "available": _usd(money.balance + money.credit_limit - money.held),
    }


def key_data(info: KeyInfo, row: ApiKey, budgets: list[BudgetState], spent: Spending) -> dict[str, Any]:
    """A key. `limit` is the budget of its own with the least left, null where it has none; `budgets` are all that its
    requests count against."""
    own = min((budget for budget in budgets if budget.scope == "key"), key=lambda b: b.remaining, default=None)
    return {
        "label": f"{row.prefix}…",
        "name": row.name,
        "created_at": _moment(row.created_at),
        "expires_at": _moment(info.expires_at),
        "group": row.group,
        "allowed_models": row.allowed_models,
        "allowed_ips": row.allowed_ips,
        "limit": _usd(own.limit) if own else None,
        "limit_remaining": _usd(own.remaining) if own else None,
        "limit_reset": _RESETS[own.window] if own else None,
        "usage": _usd(spent.total),
        "usage_daily": _usd(spent.day),
        "usage_monthly": _usd(spent.month),
        "budgets": [
            {
                "scope": budget.scope,
                "limit": _usd(budget.limit),
                "limit_reset": _RESETS[budget.window],
                "used": _usd(budget.spent),
                "held": _usd(budget.held),
                "remaining": _usd(budget.remaining),
            }
            for budget in budgets
        ],
        "rate_limits": {
            "key": asdict(info.limits or RateLimits()),
            "organization": asdict(info.organization_limits or RateLimits()),
        },
    }
