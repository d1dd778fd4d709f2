"""Sets up an installation from a script: administrator, organization, API key, channel, models, prices, opening credit.

Everything may be asked for again: what is there stays, what is missing is added. Each call gives a new API key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from accounts.models import Organization, User
from accounts.services import create_api_key, create_organization, create_user
from billing.models import LedgerEntry, Price, Wallet
from billing.services import add_entry, append_price, wallet_of
from channels_app.models import CatalogueModel, Channel, Provider
from channels_app.services import default_group, save_channel, save_model
from costrouter.lib.ids import password as new_password
from costrouter.lib.money import usd_number, usd_to_nanos
from costrouter.lib.presets import preset_of
from costrouter.lib.units import UNITS
from costrouter.lib.upstreams import KINDS, dialects_problem, effective_dialects
from costrouter.sandbox.models import CONTEXT_WINDOW, MAX_OUTPUT, MODELS
from costrouter.setup import prices as seeding

T = TypeVar("T")
# The organization of every bootstrap key. The demonstration has one of its own, so that its play money is nobody's
# opening credit.
ORGANIZATION = "Main"
SANDBOX_CHANNEL = "Sandbox"
# A writer elsewhere may hold SQLite's lock for longer than the driver waits.
BUSY_TRIES = 5


class CannotBootstrap(Exception):
    """What was asked for cannot be done; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A channel to make, or to find. `base_url`: what the provider's own SDK takes; "" for its own service.

    `key` None leaves an existing channel's credentials; a new channel beside it takes them too. `dialects` (): the
    provider's. Prices are USD per million tokens, `prices` of any unit, per what its price pays for; None leaves them.
    """

    provider: str
    base_url: str = ""
    key: str | None = None
    models: Sequence[str] = ()
    price_input: Decimal | None = None
    price_output: Decimal | None = None
    dialects: Sequence[str] = ()
    prices: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end; "" for the sandbox, whose address is known only while it runs."""
        return (self.base_url or KINDS[self.provider].base_url).rstrip("/")

    @property
    def priced(self) -> bool:
        """Whether any price is given."""
        return bool(self.prices) or self.price_input is not None or self.price_output is not None


@dataclass(slots=True)
class Result:
    """What there is now. `admin_password` and `api_key` are shown here only; None: not made by this call."""

    admin: User
    admin_password: str | None
    organization: Organization
    api_key: str | None = None
    channel: Channel | None = None
    unpriced: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The object that `bootstrap --json` prints."""
        wallet = wallet_of(organization=self.organization)
        channel = self.channel
        return {
            "admin": {"username": self.admin.email, "password": self.admin_password},
            "organization": {"id": self.organization.pk, "name": self.organization.name},
            "api_key": self.api_key,
            "channel": None
            if channel is None
            else {
                "id": channel.pk,
                "name": channel.name,
                "provider": channel.provider,
                "base_url": channel.base_url,
                "dialects": list(effective_dialects(channel.provider, channel.dialects)),
                "models": list(channel.served_models.values_list("name", flat=True)),
            },
            "balance_usd": usd_number(wallet.balance_nanos),
            "unpriced": self.unpriced,
        }


def sandbox_upstream() -> Upstream:
    """The channel of the built-in sandbox."""
    return Upstream(provider=Provider.SANDBOX, models=tuple(MODELS))


def bootstrap(
    *,
    upstream: Upstream,
    balance: Decimal | None = None,
    with_key: bool = True,
    admin_password: str | None = None,
    organization_name: str = ORGANIZATION,
) -> Result:
    """Make what is missing, in one transaction. `balance` is the opening credit in USD: once a wallet, ever.

    `admin_password`: the password of the administrator if this call makes them; else a new one. Raises CannotBootstrap.
    """
    _refuse_nonsense(upstream, balance)
    if upstream.provider != Provider.SANDBOX and not upstream.priced:
        _seed_prices(upstream)

    def work() -> Result:
        with transaction.atomic():
            _one_at_a_time()
            admin, made_password = _admin(admin_password)
            organization = _organization(admin, organization_name)
            result = Result(admin=admin, admin_password=made_password, organization=organization)
            wallet = wallet_of(organization=organization)
            if balance:
                _open(wallet, usd_to_nanos(balance))
            result.channel = _channel(upstream)
            result.unpriced = _price(upstream)
            if with_key:
                result.api_key = create_api_key(organization=organization, user=admin, name="Bootstrap")[1]
            return result

    try:
        return retried(work)
    except ValidationError as error:
        raise CannotBootstrap("; ".join(error.messages)) from error


def retried(work: Callable[[], T]) -> T:
    """Do a piece of work that is one transaction; again where SQLite was busy for longer than the driver waits."""
    for left in reversed(range(BUSY_TRIES)):
        try:
            return work()
        except OperationalError as error:
            if connection.vendor != "sqlite" or "locked" not in str(error) or not left:
                raise
            connection.close()
            time.sleep(0.2)
    raise AssertionError("the last try returns or raises")


def _one_at_a_time() -> None:
    """Two bootstraps at once wait for each other: on SQLite every transaction does, on PostgreSQL by this lock."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [0x436F7375])


def _refuse_nonsense(upstream: Upstream, balance: Decimal | None) -> None:
    """Raise CannotBootstrap for what cannot work, before anything is written."""
    try:
        if balance is not None and usd_to_nanos(balance) < 0:
            raise CannotBootstrap("--balance must not be negative")
    except ValueError as error:
        raise CannotBootstrap(f"--balance: {error}") from error
    if upstream.provider != Provider.SANDBOX and not upstream.url:
        raise CannotBootstrap(f"--upstream-url is missing, e.g. {KINDS[upstream.provider].example_url}")
    if problem := dialects_problem(upstream.provider, list(upstream.dialects)):
        raise CannotBootstrap(f"--dialects {problem}")
    if unknown := [unit for unit in upstream.prices if unit not in UNITS]:
        raise CannotBootstrap(f"--price: {unknown[0]} is no unit; there are {', '.join(UNITS)}")


def _admin(password: str | None) -> tuple[User, str | None]:
    """The administrator: whoever has ADMIN_EMAIL, else the first there is, else a new one with their password."""
    operators = User.objects.filter(is_superuser=True).order_by("id")
    existing = operators.filter(email__iexact=settings.ADMIN_EMAIL).first() or operators.first()
    if existing:
        return existing, None
    password = password or new_password()
    return create_user(email=settings.ADMIN_EMAIL, password=password, is_staff=True, is_superuser=True), password


def _organization(admin: User, name: str) -> Organization:
    """The administrator's organization of this name, made if there is none."""
    mine = Organization.objects.filter(name=name, is_personal=False, memberships__user=admin)
    return mine.order_by("id").first() or create_organization(name=name, owner=admin)


def _open(wallet: Wallet, amount_nanos: int) -> None:
    add_entry(
        wallet=wallet,
        kind=LedgerEntry.Kind.OPENING,
        amount_nanos=amount_nanos,
        idempotency_key=f"opening:{wallet.pk}",
        note="Opening credit",
    )


def _seed_prices(upstream: Upstream) -> None:
    """List prices and catalogue entries of the models that have no price yet, where the data know them: their makers',
    else those of whoever serves them here.
    """
    preset = preset_of(upstream.url)
    host = KINDS[upstream.provider].prices or (preset.prices if preset is not None else "")
    for providers in (seeding.DEFAULT_PROVIDERS, (host,)):
        priced = set(Price.objects.filter(model_name__in=upstream.models).values_list("model_name", flat=True))
        missing = [name for name in upstream.models if name not in priced]
        if missing and all(providers):
            retried(partial(seeding.seed, providers=providers, models=missing, catalogue=True))


def _channel(upstream: Upstream) -> Channel:
    """The channel of this provider, URL and dialects that serves all these models, else a new one that does.

    It is enabled and in the default group afterwards: the key that bootstrap gives is to reach it. A key given without
    models is for every channel of this provider and URL; a new channel without one takes that of the channel before.
    """
    there = _channels_of(upstream)
    if upstream.key is not None and not upstream.models:
        for channel in there:
            save_channel(channel=channel, credentials=upstream.key)
    serving = next((channel for channel in there if _serves(channel, upstream)), None)
    if serving is None:
        return _made(upstream, there)
    return _reachable(serving, upstream)


def _channels_of(upstream: Upstream) -> list[Channel]:
    """Every channel of this provider and URL, the first one first."""
    found = Channel.objects.filter(
        provider=upstream.provider, base_url__in=[upstream.url, upstream.url + "/"] if upstream.url else [""]
    )
    return list(found.order_by("id"))


def _serves(channel: Channel, upstream: Upstream) -> bool:
    """Whether a channel is what is asked for. The sandbox always is, and any where nothing is said of it."""
    if upstream.provider == Provider.SANDBOX or not (upstream.models or upstream.dialects):
        return True
    dialects = effective_dialects(channel.provider, channel.dialects)
    wanted = effective_dialects(upstream.provider, list(upstream.dialects))
    served = set(channel.served_models.values_list("name", flat=True))
    return dialects == wanted and served.issuperset(upstream.models)


def _made(upstream: Upstream, there: list[Channel]) -> Channel:
    if not upstream.models:
        raise CannotBootstrap("--models is missing: which models does this upstream serve?")
    channel = Channel(
        name=_channel_name(upstream.provider, upstream.url),
        provider=upstream.provider,
        base_url=upstream.url,
        dialects=list(upstream.dialects),
        allow_private_addresses=True,
        credentials_encrypted=there[-1].credentials_encrypted if there else "",
    )
    save_channel(channel=channel)
    return _reachable(channel, upstream)


def _reachable(channel: Channel, upstream: Upstream) -> Channel:
    """Enable a channel in the default group, with these models besides those it has, and the key if one is given."""
    channel.status = Channel.Status.ENABLED
    groups = [*channel.groups.exclude(name=default_group().name), default_group()]
    served = {entry.model: entry.upstream_name for entry in channel.channel_models.select_related("model")}
    wanted = {_model(name): "" for name in upstream.models}
    return save_channel(channel=channel, credentials=upstream.key, groups=groups, models={**wanted, **served})


def _channel_name(provider: str, base_url: str) -> str:
    """A name that no channel has: the sandbox's, or the provider and the host."""
    name = (
        SANDBOX_CHANNEL if provider == Provider.SANDBOX else f"{Provider(provider).label} {urlsplit(base_url).netloc}"
    )
    name = name[:90]
    taken = set(Channel.objects.filter(name__startswith=name).values_list("name", flat=True))
    number = 1
    while (unique := name if number == 1 else f"{name} {number}") in taken:
        number += 1
    return unique


def _model(name: str) -> CatalogueModel:
    """The catalogue's entry of a model, made if there is none."""
    existing = CatalogueModel.objects.filter(name=name).first()
    if existing:
        return existing
    model = CatalogueModel(name=name)
    if sandbox := MODELS.get(name):
        model.display_name, model.owned_by = sandbox.display_name, "costrouter"
        model.context_window, model.max_output = CONTEXT_WINDOW, MAX_OUTPUT
    return save_model(model=model)


def _price(upstream: Upstream) -> list[str]:
    """Append the prices that differ from those in force. Returns the models that have none."""
    unpriced = []
    for name in upstream.models:
        wanted: dict[str, Decimal] = dict(upstream.prices)
        if upstream.price_input is not None:
            wanted["input"] = upstream.price_input
        if upstream.price_output is not None:
            wanted["output"] = upstream.price_output
        current = _in_force(name)
        if not wanted and current is None and name in MODELS and upstream.provider == Provider.SANDBOX:
            model = MODELS[name]
            wanted = {"input": Decimal(model.price_input), "output": Decimal(model.price_output)}
        if wanted:
            half = not upstream.prices and len(wanted) == 1
            _append_where_different(name, wanted, current, half=half)
        elif current is None:
            unpriced.append(name)
    return unpriced


def _in_force(name: str) -> Price | None:
    started = Price.objects.filter(model_name=name, tier=Price.STANDARD, effective_from__lte=timezone.now())
    return started.order_by("-effective_from", "-id").first()


def _append_where_different(name: str, wanted: dict[str, Decimal], current: Price | None, *, half: bool) -> None:
    """Input and output together say all there is to say, cached and audio tokens included; else what is given changes.

    `half`: only one of --price-input and --price-output was given, which is no price by itself.
    """
    known = {unit: Decimal(value) for unit, value in current.units.items()} if current else {}
    if not {"input", "output"} <= wanted.keys():
        if half and not known:
            raise CannotBootstrap(f"{name} has no price yet: give both --price-input and --price-output")
        wanted = {**known, **wanted}
    elif current is not None and current.long_context_above is not None:
        known = {}  # a price by length is another price, whatever its base
    if wanted != known:
        append_price(model_name=name, units=wanted, source="bootstrap")
