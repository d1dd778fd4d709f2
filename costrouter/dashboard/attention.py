"""What keeps requests from being served, each with where to put it right; and the latest failures."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, F, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.models import UsageRecord, Wallet
from billing.selectors import current_prices
from channels_app.models import CatalogueModel, Channel, ChannelModel
from costrouter.admin.base import page_url
from costrouter.dashboard.channels import Row
from costrouter.lib.money import usd_text

SHOWN = 8
# Failures are looked for among so many of the latest records: a bounded walk of the primary key.
LATEST = 5_000
FAILED = (UsageRecord.Status.UPSTREAM_ERROR, UsageRecord.Status.INTERRUPTED, UsageRecord.Status.REFUSED)


def found(rows: list[Row]) -> list[dict[str, str]]:
    """What wants attention, the worst first."""
    return [*_channels(rows), *_models(), *_wallets()]


def _item(text: str, url: str) -> dict[str, str]:
    return {"text": text, "url": url}


def _channels(rows: list[Row]) -> list[dict[str, str]]:
    items = []
    if not any(row.enabled for row in rows):
        url = page_url("channels_app.channel", "changelist" if rows else "add")
        items.append(_item(_("No channel is enabled: nothing can be served."), url))
    for row in rows:
        page = page_url("channels_app.channel", "change", row.channel.pk)
        if row.failing:
            text = ngettext(
                "%(name)s: the last attempt failed (%(reason)s).",
                "%(name)s: the last %(count)s attempts failed (%(reason)s).",
                row.health.failures_in_row,
            )
            reason = row.health.recent[0]["outcome"] if row.health.recent else _("no reason is known")
            values = {"name": row.channel.name, "count": f"{row.health.failures_in_row:,}", "reason": reason}
            items.append(_item(text % values, page))
        elif row.enabled and row.health.last_test_ok is False and not _served_since(row):
            items.append(_item(_("%(name)s failed its last test.") % {"name": row.channel.name}, page))
    return items[:SHOWN]


def _served_since(row: Row) -> bool:
    """Whether it has answered a request since it was tested."""
    ok, tested = row.health.last_ok_at, row.health.last_test_at
    return ok is not None and tested is not None and ok > tested


def _models() -> list[dict[str, str]]:
    served = ChannelModel.objects.filter(model=OuterRef("pk"), channel__status=Channel.Status.ENABLED)
    models = list(CatalogueModel.objects.annotate(is_served=Exists(served)).only("name"))
    if not models:
        return [_item(_("The catalogue holds no model."), page_url("channels_app.cataloguemodel", "add"))]
    priced = current_prices(model_names=[model.name for model in models])
    unpriced = [
        _item(
            _("%(name)s has no price in force: it is refused.") % {"name": model.name},
            page_url("billing.price", "add", model_name=model.name),
        )
        for model in models
        if model.name not in priced
    ]
    unserved = [
        _item(
            _("%(name)s is served by no enabled channel.") % {"name": model.name},
            page_url("channels_app.cataloguemodel", "change", model.pk),
        )
        for model in models
        if not model.is_served  # type: ignore[attr-defined]
    ]
    return [*_few(unpriced), *_few(unserved)]


def _few(items: list[dict[str, str]]) -> list[dict[str, str]]:
    """The first of them, and how many more there are."""
    more = len(items) - SHOWN
    if more <= 0:
        return items
    text = ngettext("%(count)s more model like these.", "%(count)s more models like these.", more) % {"count": more}
    return [*items[:SHOWN], _item(text, page_url("channels_app.cataloguemodel", "changelist"))]


def _wallets() -> list[dict[str, str]]:
    broke = Wallet.objects.filter(balance_nanos__lt=-F("credit_limit_nanos")).select_related("organization")
    return [
        _item(
            _("%(name)s is below its credit limit at %(amount)s.")
            % {"name": wallet.organization, "amount": usd_text(wallet.balance_nanos)},
            page_url("billing.wallet", "change", wallet.pk),
        )
        for wallet in broke.order_by("balance_nanos")[:SHOWN]
    ]


def recent() -> list[dict[str, Any]]:
    """The latest failures and refusals among the latest records."""
    latest = UsageRecord.objects.order_by("-request_id")
    oldest = Subquery(latest.values("request_id")[LATEST - 1 : LATEST])
    rows = latest.filter(status__in=FAILED, request_id__gte=Coalesce(oldest, Value("")))
    return [
        {
            "url": page_url("billing.usagerecord", "change", row.pk),
            "when": row.created_at,
            "status": row.get_status_display(),
            "refused": row.status == UsageRecord.Status.REFUSED,
            "error": row.error_code or (f"HTTP {row.http_status}" if row.http_status else "—"),
            "model": row.model or "—",
            "channel": row.channel or "—",
        }
        for row in rows[:SHOWN]
    ]
