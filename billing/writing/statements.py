"""The writer's SQL, for PostgreSQL and SQLite: constant texts, whose rows arrive as one JSON parameter."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec


class Record(msgspec.Struct):
    """A row of `UsageRecord`, named as its columns. JSON columns are encoded already; amounts are nanos."""

    request_id: str
    created_at: str
    organization_id: int
    user_id: int | None
    api_key_id: int | None
    endpoint: str
    status: str
    model: str = ""
    group: str = ""
    channel_id: int | None = None
    channel: str = ""
    attempts: msgspec.Raw = msgspec.Raw(b"[]")
    http_status: int = 0
    error_code: str = ""
    streamed: bool = False
    estimated: bool = False
    units: msgspec.Raw = msgspec.Raw(b"{}")
    lines: msgspec.Raw = msgspec.Raw(b"[]")
    cost_nanos: int = 0
    upstream_cost_nanos: int = 0
    held_nanos: int = 0
    overrun_nanos: int = 0
    price_id: int | None = None
    rate: str = "1"
    first_byte_ms: int | None = None
    duration_ms: int | None = None
    client_ip: str = ""
    client_request_id: str = ""


class Dialect:
    """The few things in which the two databases differ."""

    def __init__(self, vendor: str) -> None:
        self.postgres = vendor == "postgresql"
        self.begin = "BEGIN" if self.postgres else "BEGIN IMMEDIATE"
        self.for_update = " FOR UPDATE" if self.postgres else ""

    def sql(self, text: str) -> str:
        """A statement written with `%s`, in the driver's own style."""
        return text if self.postgres else text.replace("%s", "?")

    def rows(self, columns: Iterable[tuple[str, str]]) -> str:
        """A table `v` of these (name, PostgreSQL type) columns, unpacked from one JSON parameter."""
        if self.postgres:
            return "json_to_recordset(%s::json) AS v(" + ", ".join(f'"{name}" {kind}' for name, kind in columns) + ")"
        values = ", ".join(f"value->>'$.{name}' AS \"{name}\"" for name, _ in columns)
        return f"(SELECT {values} FROM json_each(%s)) AS v"

    def timestamp(self, moment: datetime) -> str:
        """A moment as both databases compare it with what Django stores."""
        text = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        return text + "+00:00" if self.postgres else text


_RECORD_TYPES = {
    "request_id": "text",
    "client_request_id": "text",
    "created_at": "timestamptz",
    "attempts": "jsonb",
    "units": "jsonb",
    "lines": "jsonb",
    "rate": "numeric",
    "streamed": "boolean",
    "estimated": "boolean",
    "http_status": "smallint",
    "first_byte_ms": "integer",
    "duration_ms": "integer",
}
_RECORD_COLUMNS = [
    (
        name,
        _RECORD_TYPES.get(name, "bigint" if name.endswith(("_nanos", "_id")) else "text"),
    )
    for name in Record.__struct_fields__
]
_HOLD_COLUMNS = [
    ("request_id", "text"),
    ("wallet_id", "bigint"),
    ("amount_nanos", "bigint"),
    ("captured", "boolean"),
    ("lease_id", "text"),
    ("deadline", "timestamptz"),
    ("budget_ids", "jsonb"),
    ("api_key_id", "bigint"),
    ("user_id", "bigint"),
    ("model", "text"),
    ("group", "text"),
    ("endpoint", "text"),
    ("created_at", "timestamptz"),
]
_CHARGE_COLUMNS = [("request_id", "text"), ("amount_nanos", "bigint")]
_ID_COLUMNS = [("id", "bigint")]
_KEY_COLUMNS = [("request_id", "text")]


def statements(dialect: Dialect) -> dict[str, str]:
    """Every statement of a batch, by name."""
    names = ", ".join(f'"{name}"' for name, _ in _RECORD_COLUMNS)
    hold_names = ", ".join(f'"{name}"' for name, _ in _HOLD_COLUMNS)
    replaced = ", ".join(f'"{name}" = v."{name}"' for name, _ in _RECORD_COLUMNS if name != "request_id")
    texts = {
        "lock_wallets": "SELECT organization_id, balance_nanos, held_nanos, credit_limit_nanos FROM billing_wallet "
        f"WHERE organization_id IN (SELECT v.id FROM {dialect.rows(_ID_COLUMNS)}) "
        f"ORDER BY organization_id{dialect.for_update}",
        "lock_budgets": 'SELECT id, limit_nanos, "window", window_start, spent_nanos, held_nanos '
        f"FROM billing_budget WHERE id IN (SELECT v.id FROM {dialect.rows(_ID_COLUMNS)}) "
        f"ORDER BY id{dialect.for_update}",
        "insert_records": f"INSERT INTO billing_usagerecord ({names}) "
        f"SELECT {names} FROM {dialect.rows(_RECORD_COLUMNS)} WHERE true "
        "ON CONFLICT (request_id) DO NOTHING RETURNING request_id",
        # PostgreSQL does both at once; SQLite has no statements inside a WITH.
        "insert_and_capture": f"WITH fresh AS (INSERT INTO billing_usagerecord ({names}) "
        f"SELECT {names} FROM {dialect.rows(_RECORD_COLUMNS)} "
        "ON CONFLICT (request_id) DO NOTHING RETURNING request_id, cost_nanos), "
        "shrunk AS (UPDATE billing_hold SET amount_nanos = fresh.cost_nanos, captured = true FROM fresh "
        "WHERE billing_hold.request_id = fresh.request_id AND NOT billing_hold.captured "
        "RETURNING billing_hold.request_id) "
        "SELECT fresh.request_id, shrunk.request_id IS NOT NULL FROM fresh LEFT JOIN shrunk USING (request_id)",
        "replace_interrupted": f"UPDATE billing_usagerecord SET {replaced} FROM {dialect.rows(_RECORD_COLUMNS)} "
        "WHERE billing_usagerecord.request_id = v.request_id AND billing_usagerecord.status = 'interrupted' "
        "RETURNING billing_usagerecord.request_id",
        "capture_holds": "UPDATE billing_hold SET amount_nanos = v.amount_nanos, captured = true "
        f"FROM {dialect.rows(_CHARGE_COLUMNS)} "
        "WHERE billing_hold.request_id = v.request_id AND NOT billing_hold.captured "
        "RETURNING billing_hold.request_id",
        "open_hold": "SELECT amount_nanos, budget_ids FROM billing_hold WHERE request_id = %s AND NOT captured",
        # A hold is inserted after none was found: another one there now is an error, and nothing is committed.
        "insert_holds": f"INSERT INTO billing_hold ({hold_names}) "
        f"SELECT {hold_names} FROM {dialect.rows(_HOLD_COLUMNS)}",
        "insert_charge": f"INSERT INTO billing_hold ({hold_names}) "
        f"SELECT {hold_names} FROM {dialect.rows(_HOLD_COLUMNS)} WHERE true "
        "ON CONFLICT (request_id) DO NOTHING RETURNING request_id",
        "hold_amounts": "SELECT request_id, amount_nanos FROM billing_hold "
        f"WHERE request_id IN (SELECT v.request_id FROM {dialect.rows(_KEY_COLUMNS)})",
        "make_wallets": "INSERT INTO billing_wallet (organization_id, balance_nanos, held_nanos, credit_limit_nanos) "
        "SELECT id, 0, 0, 0 FROM accounts_organization "
        f"WHERE id IN (SELECT v.id FROM {dialect.rows(_ID_COLUMNS)}) ON CONFLICT DO NOTHING",
    }
    return {name: dialect.sql(text) for name, text in texts.items()}
