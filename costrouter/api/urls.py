"""Where the API's resources are: below `/api/v1/`, without a slash at the end."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path, re_path
from django.views.generic import RedirectView

from costrouter.api import docs
from costrouter.api.base import NotFound
from costrouter.api.operator import books, channels, groups, organizations, prices, redemption
from costrouter.api.operator import models as catalogue
from costrouter.api.tenant import billing, keys, log, me, models, records, statements, team, tokens, usage

app_name = "api"
urlpatterns: list[URLPattern | URLResolver] = [
    path("schema/", docs.schema, name="schema"),
    path("docs/", docs.docs, name="docs"),
    path("", RedirectView.as_view(pattern_name="api:docs")),
    path("me", me.MeView.as_view(), name="me"),
    path("organizations", me.OrganizationsView.as_view(), name="organizations"),
    path("organization", me.OrganizationView.as_view(), name="organization"),
    path("organization/switch", me.SwitchView.as_view(), name="organization-switch"),
    path("keys", keys.KeysView.as_view(), name="keys"),
    path("keys/<pk:key_id>", keys.KeyView.as_view(), name="key"),
    path("keys/<pk:key_id>/rotate", keys.RotateKeyView.as_view(), name="key-rotate"),
    path("keys/<pk:key_id>/enable", keys.EnableKeyView.as_view(), name="key-enable"),
    path("keys/<pk:key_id>/disable", keys.DisableKeyView.as_view(), name="key-disable"),
    path("usage/summary", usage.SummaryView.as_view(), name="usage-summary"),
    path("usage/by-day", usage.ByDayView.as_view(), name="usage-by-day"),
    path("usage/by-model", usage.ByModelView.as_view(), name="usage-by-model"),
    path("usage/by-key", usage.ByKeyView.as_view(), name="usage-by-key"),
    path("usage/by-member", usage.ByMemberView.as_view(), name="usage-by-member"),
    path("usage/records", records.RecordsView.as_view(), name="records"),
    path("usage/records/<request:request_id>", records.RecordView.as_view(), name="record"),
    path("billing/balance", billing.BalanceView.as_view(), name="balance"),
    path("billing/ledger", billing.LedgerView.as_view(), name="ledger"),
    path("billing/ledger/<pk:entry_id>", billing.LedgerEntryView.as_view(), name="ledger-entry"),
    path("billing/budgets", billing.BudgetsView.as_view(), name="budgets"),
    path("billing/statements", statements.StatementsView.as_view(), name="statements"),
    path("billing/statements/<statement_month:month>", statements.StatementView.as_view(), name="statement"),
    path("billing/redeem", billing.RedeemView.as_view(), name="redeem"),
    path("models", models.OffersView.as_view(), name="models"),
    path("models/<model:model>", models.OfferView.as_view(), name="model"),
    path("groups", models.GroupsView.as_view(), name="groups"),
    path("members", team.MembersView.as_view(), name="members"),
    path("members/<pk:user_id>", team.MemberView.as_view(), name="member"),
    path("invitations", team.InvitationsView.as_view(), name="invitations"),
    path("invitations/accept", team.AcceptView.as_view(), name="invitation-accept"),
    path("invitations/<pk:invitation_id>", team.InvitationView.as_view(), name="invitation"),
    path("access-tokens", tokens.TokensView.as_view(), name="access-tokens"),
    path("access-tokens/<pk:token_id>", tokens.TokenView.as_view(), name="access-token"),
    path("audit", log.AuditView.as_view(), name="audit"),
    path("operator/channels", channels.ChannelsView.as_view(), name="channels"),
    path("operator/channels/export", channels.ExportView.as_view(), name="channels-export"),
    path("operator/channels/import", channels.ImportView.as_view(), name="channels-import"),
    path("operator/channels/<pk:channel_id>", channels.ChannelView.as_view(), name="channel"),
    path("operator/channels/<pk:channel_id>/enable", channels.EnableChannelView.as_view(), name="channel-enable"),
    path("operator/channels/<pk:channel_id>/disable", channels.DisableChannelView.as_view(), name="channel-disable"),
    path("operator/channels/<pk:channel_id>/clone", channels.CloneChannelView.as_view(), name="channel-clone"),
    path("operator/channels/<pk:channel_id>/test", channels.TestChannelView.as_view(), name="channel-test"),
    path("operator/groups", groups.GroupsView.as_view(), name="all-groups"),
    path("operator/groups/<pk:group_id>", groups.GroupView.as_view(), name="group"),
    path("operator/models", catalogue.ModelsView.as_view(), name="catalogue"),
    path("operator/models/<pk:model_id>", catalogue.ModelView.as_view(), name="catalogue-model"),
    path("operator/prices", prices.PricesView.as_view(), name="prices"),
    path("operator/prices/<pk:price_id>", prices.PriceView.as_view(), name="price"),
    path("operator/organizations", organizations.TenantsView.as_view(), name="tenants"),
    path("operator/organizations/<pk:organization_id>", organizations.TenantView.as_view(), name="tenant"),
    path("operator/organizations/<pk:organization_id>/suspend", organizations.SuspendView.as_view(), name="suspend"),
    path("operator/organizations/<pk:organization_id>/activate", organizations.ActivateView.as_view(), name="activate"),
    path("operator/organizations/<pk:organization_id>/wallet", organizations.WalletView.as_view(), name="wallet"),
    path(
        "operator/organizations/<pk:organization_id>/ledger",
        organizations.WalletLedgerView.as_view(),
        name="wallet-ledger",
    ),
    path("operator/organizations/<pk:organization_id>/credits", organizations.CreditsView.as_view(), name="credits"),
    path(
        "operator/organizations/<pk:organization_id>/credit-limit",
        organizations.CreditLimitView.as_view(),
        name="credit-limit",
    ),
    path("operator/redemption-batches", redemption.BatchesView.as_view(), name="batches"),
    path("operator/redemption-batches/<pk:batch_id>", redemption.BatchView.as_view(), name="batch"),
    path("operator/redemption-batches/<pk:batch_id>/codes", redemption.CodesView.as_view(), name="batch-codes"),
    path("operator/redemption-batches/<pk:batch_id>/disable", redemption.DisableBatchView.as_view(), name="batch-off"),
    path("operator/redemption-batches/<pk:batch_id>/enable", redemption.EnableBatchView.as_view(), name="batch-on"),
    path("operator/users", organizations.PeopleView.as_view(), name="users"),
    path("operator/reconcile", books.ReconcileView.as_view(), name="reconcile"),
    re_path(r"", NotFound.as_view()),
]
