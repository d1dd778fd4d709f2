"""How a channel's health is shown: a label in the list, its latest failures and its last test on its page."""

from __future__ import annotations

from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from channels_app.models import Channel, ChannelHealth
from costrouter.admin.base import badge, link, page_url, table, two_lines


def health_of(channel: Channel) -> ChannelHealth | None:
    """What is known of a channel; None where it was never used or tested."""
    return getattr(channel, "health", None)


def label(channel: Channel) -> SafeString:
    """Failures in a row with the last reason; else when it last answered, or what its last test said."""
    found = health_of(channel)
    if found is None:
        return badge("Unused")
    if found.failures_in_row:
        reason = found.recent[0]["outcome"] if found.recent else ""
        variant = "danger" if found.failures_in_row > 2 else "warning"
        return two_lines(badge(f"{found.failures_in_row:,} failed", variant), reason)
    if found.last_ok_at is not None:
        return two_lines(badge("Works", "success"), f"{timesince(found.last_ok_at, depth=1)} ago")
    if found.last_test_ok is not None:
        return badge("Test worked", "success") if found.last_test_ok else badge("Test failed", "danger")
    return badge("Unused")


def details(channel: Channel) -> SafeString | str:
    """The last answer, the last test, and the latest failures, each with its time, reason and model."""
    found = health_of(channel)
    if found is None:
        return "No request has come here yet, and nobody has tested it."
    lines = [f"Last answered {_when(found.last_ok_at)}." if found.last_ok_at else "It has not answered a request yet."]
    if found.last_test_at:
        said = "worked" if found.last_test_ok else "failed"
        lines.append(f"Its last test, {_when(found.last_test_at)}, {said}: {found.last_test_detail}")
    if not found.recent:
        return format_html('<span class="cr-wrap">{}</span>', " ".join([*lines, "No failure is known."]))
    rows = [[_at(row["at"]), row["outcome"], row["model"]] for row in found.recent]
    records = page_url("billing.usagerecord", "changelist", channel_id=channel.pk, period=1)
    return format_html(
        '<span class="cr-wrap">{}</span>{}{}',
        " ".join([*lines, _row_of(found.failures_in_row)]),
        table(["Failed (UTC)", "Reason", "Model"], rows),
        link(records, "Requests that it answered"),
    )


def _row_of(failures: int) -> str:
    if failures == 0:
        return "Its last attempt did not fail."
    return "Its last attempt failed." if failures == 1 else f"Its last {failures:,} attempts failed."


def _when(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _at(text: str) -> str:
    moment = parse_datetime(text)
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else text
