"""The name by which units and images call `costrouter.serve.gunicorn`: gunicorn reads every name in here."""

from costrouter.serve.gunicorn import *  # noqa: F403
