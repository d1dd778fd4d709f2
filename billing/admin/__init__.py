"""The operator's pages of the billing app."""

from billing.admin import (  # noqa: F401  (each registers its models)
    activity,
    budgets,
    ledger,
    prices,
    records,
    redemptions,
    wallets,
)
