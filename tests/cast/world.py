"""What most tests need: Alice's organization with money and a key, Bob's without, a priced model, channels."""

from __future__ import annotations

from typing import Any

from accounts.models import ApiKey, Organization, User
from accounts.services import create_api_key, create_user
from billing.models import Hold, LedgerEntry, Price, UsageRecord, Wallet
from billing.reconciliation import reconcile
from billing.services import add_entry, append_price, wallet_of
from billing.settlement import settle
from billing.totals import differences
from channels_app.models import CatalogueModel, Channel
from channels_app.services import default_group, save_channel, save_model
from tests.cast.waiting import eventually

USD = 1_000_000_000


class World:
    """Alice has 10 USD and a key; Bob has a key and nothing else. `double-1` costs 1 USD in, 2 USD out per million."""

    def __init__(self) -> None:
        self.group = default_group()
        self.alice = create_user(email="alice@example.com", password="correct horse")
        self.bob = create_user(email="bob@example.com", password="battery staple")
        self.organization: Organization = self.alice.organizations.get()
        self.bobs: Organization = self.bob.organizations.get()
        self.key, self.secret = self.new_key()
        self.bobs_key, self.bobs_secret = self.new_key(user=self.bob)
        self.wallet = wallet_of(organization=self.organization)
        self.credit(10 * USD)
        self.model = self.new_model("double-1", input="1", output="2")

    def new_key(self, *, user: User | None = None, **options: Any) -> tuple[ApiKey, str]:
        owner = user or self.alice
        return create_api_key(organization=owner.organizations.get(), user=owner, name="test", **options)

    def credit(self, nanos: int, *, organization: Organization | None = None) -> None:
        """Give an organization money."""
        wallet = wallet_of(organization=organization or self.organization)
        number = LedgerEntry.objects.count()
        add_entry(wallet=wallet, kind="credit", amount_nanos=nanos, idempotency_key=f"test:{number}", note="test")

    def new_model(
        self, name: str, *, context_window: int | None = 8_000, max_output: int | None = 1_000, **prices: str
    ):
        """A model of the catalogue; without prices it is unpriced."""
        model = save_model(
            model=CatalogueModel(name=name, context_window=context_window, max_output=max_output, owned_by="double")
        )
        if prices:
            append_price(model_name=name, units=prices)
        return model

    def new_channel(
        self, url: str, *, name: str = "first", credentials: str = "sk-upstream", **options: Any
    ) -> Channel:
        """A channel that serves `double-1` (or `models`: model → upstream name) at a loopback URL."""
        models = options.pop("models", {self.model: ""})
        groups = options.pop("groups", [self.group])
        options.setdefault("provider", "openai_compatible")
        channel = Channel(name=name, base_url=url, allow_private_addresses=True, **options)
        return save_channel(channel=channel, credentials=credentials, groups=groups, models=models)

    def balance(self) -> tuple[int, int]:
        """(balance, held) of Alice's wallet, in nanos."""
        wallet = Wallet.objects.get(pk=self.organization.pk)
        return wallet.balance_nanos, wallet.held_nanos

    def records(self) -> list[UsageRecord]:
        """Every record, the first request first."""
        return list(UsageRecord.objects.order_by("request_id"))

    def record(self) -> UsageRecord:
        """The only record. Those of refusals are written without anyone waiting, so this waits for it."""
        eventually(UsageRecord.objects.exists, what="a record")
        [record] = self.records()
        return record

    def price(self) -> Price:
        """The price of `double-1`."""
        return Price.objects.filter(model_name="double-1").latest("id")

    def prove(self) -> dict[str, Any]:
        """Settle, and reconcile: no invariant is breached, nothing is held, totals equal the records. The report."""
        eventually(lambda: not Hold.objects.filter(captured=False).exists(), what="every hold is captured")
        settle()
        report = reconcile()
        assert report["breaches"] == []
        assert not Hold.objects.exists()
        assert differences() == (0, [])
        return report
