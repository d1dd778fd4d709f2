from django.apps import AppConfig


class CostRouterConfig(AppConfig):
    name = "costrouter"
    verbose_name = "CostRouter"

    def ready(self) -> None:
        from costrouter import checks  # noqa: F401  (registers the system checks)
