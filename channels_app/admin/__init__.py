"""The operator's pages of the channels app."""

from channels_app.admin import catalogue, channels, groups  # noqa: F401  (each registers its models)
