"""The operator's pages of the billing app."""

from billing.admin import activity, budgets, ledger, prices, records, wallets  # noqa: F401  (each registers its models)
