"""Where the console's pages are. Each page has its module in `costrouter/console/`."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path, register_converter

from costrouter.console import audit, billing, invitations, models, organizations, overview, playground, settings, team
from costrouter.console.keys import views as keys
from costrouter.console.logs import views as logs

register_converter(billing.MonthConverter, "month")

app_name = "console"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", overview.index, name="overview"),
    path("billing/", billing.index, name="billing"),
    path("billing/redeem/", billing.redeem, name="billing-redeem"),
    path("billing/statements/<month:asked>/", billing.month, name="statement"),
    path("playground/", playground.index, name="playground"),
    path("playground/key/", playground.make_key, name="playground-key"),
    path("models/", models.index, name="models"),
    path("models/<path:name>/", models.detail, name="model"),
    path("keys/", keys.index, name="keys"),
    path("keys/new/", keys.new, name="key-new"),
    path("keys/<int:key_id>/", keys.detail, name="key"),
    path("keys/<int:key_id>/rotate/", keys.rotate, name="key-rotate"),
    path("keys/<int:key_id>/enable/", keys.enable, name="key-enable"),
    path("keys/<int:key_id>/delete/", keys.delete, name="key-delete"),
    path("logs/", logs.index, name="logs"),
    path("logs/tail/", logs.tail, name="log-tail"),
    path("logs/export/", logs.export, name="log-export"),
    path("logs/<str:request_id>/", logs.detail, name="log"),
    path("organizations/new/", organizations.new, name="organization-new"),
    path("organizations/switch/", organizations.switch, name="organization-switch"),
    path("team/", team.index, name="team"),
    path("team/invite/", team.invite, name="team-invite"),
    path("team/invitations/<int:invitation_id>/withdraw/", team.withdraw, name="team-withdraw"),
    path("team/members/<int:member_id>/role/", team.change_role, name="team-role"),
    path("team/members/<int:member_id>/remove/", team.remove, name="team-remove"),
    path("invitations/<slug:secret>/", invitations.show, name="invitation"),
    path("audit/", audit.index, name="audit"),
    path("settings/", settings.index, name="settings"),
    path("settings/organization/", settings.rename, name="setting-rename"),
    path("settings/leave/", settings.leave, name="setting-leave"),
    path("settings/tokens/new/", settings.token_new, name="setting-token-new"),
    path("settings/tokens/<int:token_id>/delete/", settings.token_delete, name="setting-token-delete"),
]
