"""The project, as Django finds it."""

from django.apps import AppConfig


class CostRouterConfig(AppConfig):
    name = "costrouter"
    verbose_name = "CostRouter"

    def ready(self) -> None:
        # The app that `shared_task` sends through, and the system checks. Imported here and not by the package, so that
        # the supervisor and gunicorn's master stay small: they import nothing but the table of settings.
        from costrouter import celery, checks  # noqa: F401
