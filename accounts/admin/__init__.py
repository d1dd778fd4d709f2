"""The operator's pages of the accounts app."""

from accounts.admin import api_keys, audit, organizations, sign_in, users  # noqa: F401  (each registers its models)
