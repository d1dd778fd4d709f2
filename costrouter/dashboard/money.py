"""What money waits: wallets, what is held now, what settlement has yet to write, and what cost more than was held."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.reports import operator as operator_usage
from billing.reports.operator import Waiting
from costrouter.admin.base import page_url
from costrouter.dashboard.figures import Chosen, Sums
from costrouter.dashboard.text import Card, ago, short
from costrouter.lib.money import usd_text

# Settlement runs every second: a charge that waits longer than this says that no worker runs.
LATE = timedelta(seconds=60)
# A request that holds money for longer is a video, or has lost its process.
LONG = timedelta(hours=1)


def cards(chosen: Chosen, sums: Sums | None) -> list[Card]:
    """Money now; overruns are those of the period, for who may see its totals."""
    wallets, unsettled, running = operator_usage.wallets(), operator_usage.unsettled(), operator_usage.open_holds()
    now = timezone.now()
    below = wallets.below_zero
    found = [
        Card(
            _("Balance of all wallets"),
            short(wallets.balance_nanos),
            _("in %(count)s wallets") % {"count": f"{wallets.count:,}"},
            page_url("billing.wallet", "changelist"),
            exact=usd_text(wallets.balance_nanos),
            tone="bad" if wallets.balance_nanos < 0 else "",
        ),
        Card(
            _("Wallets below zero"),
            f"{below:,}",
            _("%(amount)s owed, on credit or by overrun") % {"amount": usd_text(wallets.owed_nanos)}
            if below
            else _("nobody owes anything"),
            page_url("billing.wallet", "changelist", standing="negative"),
            tone="warn" if below else "",
        ),
        Card(
            _("Held for requests under way"),
            short(running.nanos),
            _("%(count)s open; the oldest %(age)s") % {"count": _count(running), "age": ago(running.oldest, now)}
            if running.count
            else _("nothing is under way"),
            page_url("billing.hold", "changelist", captured__exact=0),
            exact=usd_text(running.nanos),
            tone="warn" if running.oldest and now - running.oldest > LONG else "",
        ),
        Card(
            _("Settlement lag"),
            _lag(unsettled),
            _("%(count)s charges of %(amount)s to be written")
            % {"count": _count(unsettled), "amount": usd_text(unsettled.nanos)}
            if unsettled.count
            else _("every charge is in the ledger"),
            page_url("billing.hold", "changelist", captured__exact=1),
            exact=f"{unsettled.oldest:%Y-%m-%d %H:%M:%S} UTC" if unsettled.oldest else "",
            tone="bad" if unsettled.oldest and now - unsettled.oldest > LATE else "",
        ),
    ]
    if sums is not None:
        found.append(
            Card(
                _("Overruns"),
                short(sums.now.overrun_nanos),
                ngettext(
                    "one request cost more than was held",
                    "%(count)s requests cost more than was held",
                    sums.now.overruns,
                )
                % {"count": f"{sums.now.overruns:,}"}
                if sums.now.overruns
                else _("no request cost more than was held"),
                chosen.records(trouble="overrun"),
                exact=usd_text(sums.now.overrun_nanos),
                tone="warn" if sums.now.overruns else "",
            )
        )
    return found


def _count(waiting: Waiting) -> str:
    return f"{waiting.count:,}{'+' if waiting.more else ''}"


def _lag(unsettled: Waiting) -> str:
    """The age of the oldest charge that is not settled."""
    if unsettled.oldest is None:
        return "0 s"
    seconds = max(0, int((timezone.now() - unsettled.oldest).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60:,} h" if minutes < 48 * 60 else f"{minutes // 1440:,} days"
