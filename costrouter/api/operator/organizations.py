"""Tenants, their people and their money."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Sum
from rest_framework import serializers

from accounts import services
from accounts.models import Organization, User
from billing.models import LedgerEntry
from billing.selectors import credits_of
from billing.services import adjust, set_credit_limit, wallet_of
from costrouter.api.base import Resource, operation
from costrouter.api.errors import Refused, not_found
from costrouter.api.fields import Count, In, Out, Pattern, SignedUsdIn, Text, UsdIn
from costrouter.api.lists import RowQuery, list_of, newest_first
from costrouter.api.operator import READ, WRITE
from costrouter.api.tenant.billing import Balance, LedgerQuery, LedgerRow, ledger

USED = "This idempotency key was used for another change."


class Tenant(Out):
    """An organization, as operators see it."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    is_personal = serializers.BooleanField()
    status = serializers.ChoiceField(choices=Organization.Status.values)
    requests_per_minute = serializers.IntegerField(allow_null=True)
    tokens_per_minute = serializers.IntegerField(allow_null=True)
    concurrent_requests = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()


class TenantQuery(RowQuery):
    """Which organizations."""

    search = Text(max_length=150, required=False, help_text="In the name.")
    status = serializers.ChoiceField(choices=Organization.Status.values, required=False)


class TenantFields(In):
    """What an operator changes. What is left out stays as it is; null lifts a limit."""

    name = Text(max_length=150, required=False)
    requests_per_minute = Count(min_value=1, required=False, allow_null=True)
    tokens_per_minute = Count(min_value=1, required=False, allow_null=True)
    concurrent_requests = Count(min_value=1, required=False, allow_null=True)


class NewTenant(In):
    """An organization to make."""

    name = Text(max_length=150)
    owner_email = serializers.EmailField(max_length=254, help_text="Of a user there is.")


class Person(Out):
    """A user of this site."""

    id = serializers.IntegerField(source="pk")
    email = serializers.EmailField()
    name = serializers.CharField()
    is_active = serializers.BooleanField()
    is_operator = serializers.BooleanField(source="is_staff")
    date_joined = serializers.DateTimeField()


class PersonQuery(RowQuery):
    """Which users."""

    search = Text(max_length=150, required=False, help_text="In e-mail address and name.")


class Reasoned(In):
    """A change with a reason, once."""

    reason = Text(max_length=500, help_text="Kept in the ledger.")
    idempotency_key = Pattern(
        r"^[A-Za-z0-9_.:-]{1,60}$", help_text="Yours to choose. Sent again, nothing happens again."
    )


class Movement(Reasoned):
    """A credit, or with a minus a debit."""

    amount_usd = SignedUsdIn()


class LimitChange(Reasoned):
    """How far below zero the balance may go."""

    limit_usd = UsdIn()


class Moved(Out):
    """Whether something happened, and how the wallet stands now."""

    applied = serializers.BooleanField(help_text="false: this key was used before, or nothing was to change.")
    wallet = Balance()


class TenantResource(Resource):
    """A path about organizations."""

    tag = "Operator: organizations"

    def find(self, organization_id: int) -> Organization:
        """An organization. Raises Refused."""
        found = Organization.objects.filter(pk=organization_id).first()
        if found is None:
            raise not_found()
        return found

    def key(self, organization: Organization) -> str:
        """The ledger's key for the caller's."""
        return f"api:{organization.pk}:{self.body['idempotency_key']}"


def limit_after(entry: LedgerEntry) -> int | None:
    """The credit limit that an entry set, in nanos; None where it set none."""
    if entry.kind != LedgerEntry.Kind.CREDIT_LIMIT:
        return None
    rows = LedgerEntry.objects.filter(wallet_id=entry.wallet_id, pk__lte=entry.pk)
    total = rows.exclude(kind=LedgerEntry.Kind.USAGE).aggregate(sum=Sum("limit_change_nanos"))["sum"]
    return int(total)


class TenantsView(TenantResource):
    """`operator/organizations`"""

    @operation(
        "listTenants",
        "List organizations",
        scope=READ,
        permission="accounts.view_organization",
        query=TenantQuery,
        answer=list_of(Tenant),
    )
    def get(self) -> Any:
        """The newest first."""
        columns = {"search": "name__icontains", "status": "status"}
        wanted = {column: self.query[name] for name, column in columns.items() if name in self.query}
        return newest_first(Organization.objects.filter(**wanted), self.query)

    @operation(
        "createTenant",
        "Create an organization for somebody",
        scope=WRITE,
        permission="accounts.add_organization",
        body=NewTenant,
        answer=Tenant,
        status=201,
    )
    def post(self) -> Any:
        """A user there is becomes its owner."""
        owner = User.objects.filter(email__iexact=self.body["owner_email"]).first()
        if owner is None:
            raise ValidationError({"owner_email": "There is no such user."})
        return services.create_organization(name=self.body["name"], owner=owner)


class TenantView(TenantResource):
    """`operator/organizations/{organization_id}`"""

    @operation("getTenant", "Get an organization", scope=READ, permission="accounts.view_organization", answer=Tenant)
    def get(self, organization_id: int) -> Any:
        return self.find(organization_id)

    @operation(
        "changeTenant",
        "Change an organization",
        scope=WRITE,
        permission="accounts.change_organization",
        body=TenantFields,
        answer=Tenant,
    )
    def patch(self, organization_id: int) -> Any:
        """Its name and rate limits; its keys notice within a second."""
        organization = self.find(organization_id)
        for name, value in self.body.items():
            setattr(organization, name, value)
        return services.save_organization(organization=organization)


class SuspendView(TenantResource):
    """`operator/organizations/{organization_id}/suspend`"""

    @operation(
        "suspendTenant",
        "Suspend an organization",
        scope=WRITE,
        permission="accounts.change_organization",
        answer=Tenant,
    )
    def post(self, organization_id: int) -> Any:
        """Every request under its keys and access tokens is refused within a second."""
        services.set_organizations_status(
            organizations=[self.find(organization_id)], status=Organization.Status.SUSPENDED
        )
        return self.find(organization_id)


class ActivateView(TenantResource):
    """`operator/organizations/{organization_id}/activate`"""

    @operation(
        "activateTenant",
        "Bring an organization back",
        scope=WRITE,
        permission="accounts.change_organization",
        answer=Tenant,
    )
    def post(self, organization_id: int) -> Any:
        services.set_organizations_status(organizations=[self.find(organization_id)], status=Organization.Status.ACTIVE)
        return self.find(organization_id)


class WalletView(TenantResource):
    """`operator/organizations/{organization_id}/wallet`"""

    @operation("getWallet", "An organization's wallet", scope=READ, permission="billing.view_wallet", answer=Balance)
    def get(self, organization_id: int) -> Any:
        return credits_of(organization_id=self.find(organization_id).pk)


class WalletLedgerView(TenantResource):
    """`operator/organizations/{organization_id}/ledger`"""

    @operation(
        "getWalletLedger",
        "An organization's ledger",
        scope=READ,
        permission="billing.view_ledgerentry",
        query=LedgerQuery,
        answer=list_of(LedgerRow),
    )
    def get(self, organization_id: int) -> Any:
        """The newest first."""
        return ledger(self.find(organization_id).pk, self.query)


class CreditsView(TenantResource):
    """`operator/organizations/{organization_id}/credits`"""

    @operation(
        "moveCredits",
        "Credit or debit an organization",
        scope=WRITE,
        permission="billing.change_wallet",
        body=Movement,
        answer=Moved,
    )
    def post(self, organization_id: int) -> Any:
        """The ledger keeps it with its reason and your name. A debit may take the balance below zero."""
        organization, amount = self.find(organization_id), self.body["amount_usd"]
        key = self.key(organization)
        applied = adjust(
            wallet=wallet_of(organization=organization),
            amount_nanos=amount,
            reason=self.body["reason"],
            actor=self.request.user,
            idempotency_key=key,
        )
        # Asked afterwards: of two at the same time, the one that came second finds the other's entry.
        if not applied and LedgerEntry.objects.filter(idempotency_key=key).exclude(amount_nanos=amount).exists():
            raise Refused("conflict", USED)
        return {"applied": applied, "wallet": credits_of(organization_id=organization.pk)}


class CreditLimitView(TenantResource):
    """`operator/organizations/{organization_id}/credit-limit`"""

    @operation(
        "setCreditLimit",
        "Set an organization's credit limit",
        scope=WRITE,
        permission="billing.change_wallet",
        body=LimitChange,
        answer=Moved,
    )
    def put(self, organization_id: int) -> Any:
        """Requests are granted until the balance would be below minus this."""
        organization, limit = self.find(organization_id), self.body["limit_usd"]
        key = self.key(organization)
        applied = set_credit_limit(
            wallet=wallet_of(organization=organization),
            limit_nanos=limit,
            reason=self.body["reason"],
            actor=self.request.user,
            idempotency_key=key,
        )
        before = None if applied else LedgerEntry.objects.filter(idempotency_key=key).first()
        if before is not None and limit_after(before) != limit:
            raise Refused("conflict", USED)
        return {"applied": applied, "wallet": credits_of(organization_id=organization.pk)}


class PeopleView(Resource):
    """`operator/users`"""

    tag = "Operator: organizations"

    @operation(
        "listUsers",
        "List users",
        scope=READ,
        permission="accounts.view_user",
        query=PersonQuery,
        answer=list_of(Person),
    )
    def get(self) -> Any:
        """Those who joined last come first."""
        rows = User.objects.all()
        if search := self.query.get("search"):
            rows = rows.filter(email__icontains=search) | rows.filter(name__icontains=search)
        return newest_first(rows, self.query)
