"""What a new installation still lacks, computed each time: nobody ticks anything off. It is gone once all is done.

An item that does not concern this installation is done: the embedded default needs no secrets in its environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db.models import Exists
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import ApiKey, User
from billing.models import DayTotal, Price
from channels_app.models import ChannelModel, ModelGroup, Provider
from costrouter.admin.base import page_url
from costrouter.dashboard.channels import Row
from costrouter.env import outside
from costrouter.sign_in.staff import FACTORS

HIDDEN = "checklist_hidden"
_SECRETS = ("SECRET_KEY", "KEY_HASH_SECRET", "FIELD_ENCRYPTION_KEYS")
_DOCS = "docs/operations.md"


@dataclass(frozen=True, slots=True)
class Item:
    """Something to do: what, why or how, where; `permission`: of those who can do it there."""

    title: str
    text: str
    url: str
    done: bool
    permission: str


def of(request: HttpRequest, rows: list[Row]) -> dict[str, Any] | None:
    """The list for whoever looks; None where everything that they can do is done, or they hid it for now."""
    user: Any = request.user
    if request.session.get(HIDDEN) or not user.has_perm("channels_app.change_channel"):
        return None
    items = [item for item in _items(user, rows) if user.has_perm(item.permission)]
    done = sum(item.done for item in items)
    if done == len(items):
        return None
    return {"items": items, "done": done, "count": len(items), "hide_url": reverse("hide-checklist")}


def in_production() -> bool:
    """Whether this is more than the embedded default: many processes, maybe on many machines."""
    return bool(settings.DATABASES["default"]["ENGINE"].endswith("postgresql"))


def _items(user: Any, rows: list[Row]) -> list[Item]:
    enabled = [row for row in rows if row.enabled]
    real = [row for row in enabled if row.channel.provider != Provider.SANDBOX]
    well = any(row.health.last_test_ok or row.health.last_ok_at for row in enabled)
    first = (enabled or rows)[:1]
    sandbox = [row for row in enabled if row.channel.provider == Provider.SANDBOX]
    production = in_production()
    facts = _facts(user, [row.channel.pk for row in enabled])
    return [
        Item(
            _("Add a channel"),
            _("An upstream account that requests are sent to; it serves the models that you name."),
            page_url("channels_app.channel", "changelist" if rows else "add"),
            bool(enabled),
            "channels_app.change_channel",
        ),
        Item(
            _("Test it"),
            _("One short request shows whether the address, the credentials and the model are right."),
            page_url("channels_app.channel", "test", first[0].channel.pk)
            if first
            else page_url("channels_app.channel", "add"),
            well,
            "channels_app.change_channel",
        ),
        Item(
            _("Put it into a model group"),
            _("A key is in one group, which decides its channels and the rate at which it is charged."),
            page_url("channels_app.channel", "change", first[0].channel.pk)
            if first
            else page_url("channels_app.modelgroup", "changelist"),
            facts["grouped"],
            "channels_app.change_channel",
        ),
        Item(
            _("Give a model a price"),
            _("A model without a price is refused: nothing is ever served unpriced."),
            page_url("channels_app.cataloguemodel", "changelist"),
            facts["priced"],
            "billing.add_price",
        ),
        Item(
            _("Create the first API key"),
            _("In the console, as any member does; or for an organization, in the list of keys here."),
            page_url("accounts.apikey", "changelist"),
            facts["key"],
            "accounts.view_apikey",
        ),
        Item(
            _("Send the first request"),
            _("The playground is the quickest way; the API docs have snippets to paste."),
            reverse("console:playground"),
            facts["used"] or any(row.health.last_ok_at for row in rows),
            "channels_app.change_channel",
        ),
        Item(
            _("Sign in with a second factor"),
            _("An authenticator app or a passkey. STAFF_MFA=true asks it of every operator."),
            reverse("mfa_index"),
            facts["factor"],
            "channels_app.change_channel",
        ),
        Item(
            _("Set up e-mail"),
            _("Without EMAIL_URL, invitations and password resets only appear in the log."),
            "",
            bool(settings.EMAIL_URL),
            "channels_app.change_channel",
        ),
        Item(
            _("Keep the secrets in the environment, and a copy elsewhere"),
            _("%(names)s came from a file of this machine: another one would not know them. See %(docs)s.")
            % {"names": ", ".join(_SECRETS), "docs": _DOCS},
            "",
            not production or all(outside(name) for name in _SECRETS),
            "channels_app.change_channel",
        ),
        Item(
            _("Switch the sandbox off"),
            _("It answers with made-up text, and is charged as any other channel is."),
            page_url("channels_app.channel", "change", sandbox[0].channel.pk)
            if sandbox
            else page_url("channels_app.channel", "changelist"),
            not sandbox or not (production or real),
            "channels_app.change_channel",
        ),
    ]


def _facts(user: Any, enabled: list[int]) -> dict[str, bool]:
    """What only the database knows, in one query."""
    served = ChannelModel.objects.filter(channel__in=enabled).values("model__name")
    found: dict[str, bool] = (
        User.objects.filter(pk=user.pk)
        .values(
            priced=Exists(Price.objects.filter(model_name__in=served)),
            grouped=Exists(ModelGroup.objects.filter(channels__in=enabled)),
            key=Exists(ApiKey.objects.filter(deleted_at=None, purpose=ApiKey.Purpose.API)),
            used=Exists(DayTotal.objects.all()),
            factor=Exists(Authenticator.objects.filter(user_id=user.pk, type__in=FACTORS)),
        )
        .get()
    )
    return found
