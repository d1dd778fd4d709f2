"""Pages beside those that have a name, and those that are left out."""

from __future__ import annotations

# URL names that are no pages to look at, and why.
LEFT_OUT = {
    "console:log-export": "streams all it finds",
    "api:reconcile": "a report over everything, by intention",
    "api:batch-codes": "a download of a whole batch",
    "account_logout": "would sign out",
    "socialaccount_login_error": "answers 401, by intention",
}
# What is asked of a page besides its plain address.
ALSO: dict[str, tuple[str, ...]] = {
    "console:overview": ("period=7", "period=90"),
    "console:billing": ("period=7", "period=90", "period=last-month"),
    "console:keys": ("q=Key",),
    "console:logs": (
        "status=refused",
        "model=whisper-1",
        "period=24h",
        "period=30d",
        "min_cost=0.05",
        "endpoint=embeddings",
    ),
    "console:models": ("q=gpt",),
    "api:records": ("status=refused", "model=whisper-1"),
    "api:ledger": ("kind=usage", "kind=not_usage"),
}
ADMIN_ALSO: dict[str, tuple[str, ...]] = {
    "usagerecord": ("period=any", "period=30", "status__exact=refused&period=any"),
    "ledgerentry": ("kind__exact=usage",),
}
