"""THE table of pages: what is looked at, photographed, and checked for accessibility, policy and weight."""

from __future__ import annotations

from dataclasses import dataclass

from tests.browser.stage import Stage

ANYONE, MEMBER, PLAIN, OPERATOR = (
    "anyone",
    "ada@northwind.example",
    "carol@northwind.example",
    "olivia@costrouter.example",
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A page: the name of its picture, its path (with `{…}` filled from the stage), and who looks at it."""

    name: str
    path: str
    who: str = MEMBER

    def at(self, stage: Stage) -> str:
        """Its path."""
        return self.path.format(
            key=stage.key.pk,
            record=stage.record.pk,
            channel=stage.channel.pk,
            month=f"{stage.record.created_at:%Y-%m}",
            model=stage.record.model,
            organization=stage.organization.pk,
        )


PAGES: tuple[Shown, ...] = (
    Shown("home", "/", ANYONE),
    Shown("sign-in", "/accounts/login/", ANYONE),
    Shown("sign-up", "/accounts/signup/", ANYONE),
    Shown("password-reset", "/accounts/password/reset/", ANYONE),
    Shown("account", "/accounts/profile/"),
    Shown("docs", "/docs/", ANYONE),
    Shown("docs-endpoint", "/docs/chat.completions/", ANYONE),
    Shown("api", "/api/v1/docs/", ANYONE),
    Shown("not-found", "/nowhere/", ANYONE),
    Shown("overview", "/console/"),
    Shown("overview-member", "/console/", PLAIN),
    Shown("keys", "/console/keys/"),
    Shown("key-new", "/console/keys/new/"),
    Shown("key", "/console/keys/{key}/"),
    Shown("key-rotate", "/console/keys/{key}/rotate/"),
    Shown("key-delete", "/console/keys/{key}/delete/"),
    Shown("logs", "/console/logs/"),
    Shown("log", "/console/logs/{record}/"),
    Shown("models", "/console/models/"),
    Shown("model", "/console/models/{model}/"),
    Shown("playground", "/console/playground/"),
    Shown("billing", "/console/billing/"),
    Shown("statement", "/console/billing/statements/{month}/"),
    Shown("team", "/console/team/"),
    Shown("team-member", "/console/team/", PLAIN),
    Shown("organization-new", "/console/organizations/new/"),
    Shown("audit", "/console/audit/"),
    Shown("settings", "/console/settings/"),
    Shown("access-token-new", "/console/settings/tokens/new/"),
    Shown("account-email", "/accounts/email/"),
    Shown("account-password", "/accounts/password/change/"),
    Shown("account-two-factor", "/accounts/2fa/"),
    Shown("account-sessions", "/accounts/sessions/"),
    Shown("account-connections", "/accounts/3rdparty/"),
    Shown("admin", "/admin/", OPERATOR),
    Shown("admin-channels", "/admin/channels_app/channel/", OPERATOR),
    Shown("admin-channel", "/admin/channels_app/channel/{channel}/change/", OPERATOR),
    Shown("admin-channel-new", "/admin/channels_app/channel/add/", OPERATOR),
    Shown("admin-channel-test", "/admin/channels_app/channel/{channel}/test/", OPERATOR),
    Shown("admin-models", "/admin/channels_app/cataloguemodel/", OPERATOR),
    Shown("admin-groups", "/admin/channels_app/modelgroup/", OPERATOR),
    Shown("admin-day-totals", "/admin/billing/daytotal/", OPERATOR),
    Shown("admin-holds", "/admin/billing/hold/", OPERATOR),
    Shown("admin-ledger", "/admin/billing/ledgerentry/", OPERATOR),
    Shown("admin-budgets", "/admin/billing/budget/", OPERATOR),
    Shown("admin-price-new", "/admin/billing/price/add/", OPERATOR),
    Shown("admin-wallet", "/admin/billing/wallet/{organization}/change/", OPERATOR),
    Shown("admin-users", "/admin/accounts/user/", OPERATOR),
    Shown("admin-keys", "/admin/accounts/apikey/", OPERATOR),
    Shown("admin-organization", "/admin/accounts/organization/{organization}/change/", OPERATOR),
    Shown("admin-records", "/admin/billing/usagerecord/", OPERATOR),
    Shown("admin-record", "/admin/billing/usagerecord/{record}/change/", OPERATOR),
    Shown("admin-prices", "/admin/billing/price/", OPERATOR),
    Shown("admin-wallets", "/admin/billing/wallet/", OPERATOR),
    Shown("admin-redemption", "/admin/billing/redemptionbatch/", OPERATOR),
    Shown("admin-organizations", "/admin/accounts/organization/", OPERATOR),
    Shown("admin-audit", "/admin/accounts/auditentry/", OPERATOR),
)
