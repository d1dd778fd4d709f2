"""The filters of Usage Logs, as the query of its URL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from billing.models import UsageRecord
from billing.reports.logs import LogFilter
from costrouter.lib.money import usd_to_nanos
from relay.endpoints import ENDPOINTS

ANY: tuple[str, Any] = ("", _("Any"))
PERIODS: tuple[tuple[str, Any], ...] = (
    ("", _("Any time")),
    ("1h", _("Last hour")),
    ("24h", _("Last 24 hours")),
    ("7d", _("Last 7 days")),
    ("30d", _("Last 30 days")),
    ("between", _("From and to…")),
)
_SPANS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
# Fields that stand behind "More filters".
MORE = ("group", "endpoint", "user", "streamed", "min_cost")
# The times that the management API takes too: an hour before and after them there still is a date.
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 12, 31, tzinfo=UTC)


def _moment(label: Any) -> forms.DateTimeField:
    return forms.DateTimeField(
        label=label,
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"],
        validators=[MinValueValidator(_EARLIEST), MaxValueValidator(_LATEST)],
    )


class LogForm(forms.Form):
    """What to show. It is sent with GET; unknown and empty fields mean everything."""

    period = forms.ChoiceField(label=_("Time"), required=False, choices=PERIODS)
    start = _moment(_("From (UTC)"))
    end = _moment(_("Until (UTC)"))
    key = forms.ChoiceField(label=_("API key"), required=False)
    model = forms.CharField(
        label=_("Model"),
        required=False,
        max_length=150,
        widget=forms.TextInput(attrs={"list": "log-models", "autocomplete": "off", "placeholder": _("Any")}),
    )
    status = forms.ChoiceField(label=_("Status"), required=False, choices=[ANY, *UsageRecord.Status.choices])
    group = forms.ChoiceField(label=_("Group"), required=False)
    endpoint = forms.ChoiceField(
        label=_("Endpoint"),
        required=False,
        choices=[ANY, *((row.name, row.name) for row in ENDPOINTS if row.meter is not None)],
    )
    user = forms.ChoiceField(label=_("Member"), required=False)
    streamed = forms.ChoiceField(label=_("Streamed"), required=False, choices=[ANY, ("yes", _("Yes")), ("no", _("No"))])
    min_cost = forms.DecimalField(
        label=_("At least (USD)"),
        required=False,
        min_value=0,
        max_digits=19,
        decimal_places=9,
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )

    def __init__(
        self,
        *args: Any,
        keys: Sequence[tuple[int, str]],
        groups: Sequence[str],
        users: Sequence[tuple[int, str]] | None,
        **kwargs: Any,
    ) -> None:
        """`users`: the organization's members; None where the reader sees only their own requests."""
        super().__init__(*args, **kwargs)
        self.fields["key"].choices = [ANY, *((str(pk), name) for pk, name in keys)]  # type: ignore[attr-defined]
        self.fields["group"].choices = [ANY, *((name, name) for name in groups)]  # type: ignore[attr-defined]
        if users is None:
            del self.fields["user"]
        else:
            self.fields["user"].choices = [ANY, *((str(pk), name) for pk, name in users)]  # type: ignore[attr-defined]

    def chosen(self, *, now: datetime | None = None) -> LogFilter:
        """The filter. A field that cannot be read filters nothing: look at `errors` first."""
        self.is_valid()
        given = self.cleaned_data
        now = now or timezone.now()
        period = given.get("period", "")
        start, end = given.get("start"), given.get("end")
        if period in _SPANS:
            start, end = now - _SPANS[period], None
        elif period != "between":
            start = end = None
        key, user, cost = given.get("key"), given.get("user"), given.get("min_cost")
        streamed = given.get("streamed")
        return LogFilter(
            key_id=int(key) if key else None,
            user_id=int(user) if user else None,
            model=given.get("model", ""),
            group=given.get("group", ""),
            endpoint=given.get("endpoint", ""),
            status=given.get("status", ""),
            streamed=None if not streamed else streamed == "yes",
            min_cost_nanos=usd_to_nanos(cost) if cost else None,
            start=start,
            end=end,
        )

    @property
    def uses_more(self) -> bool:
        """Whether one of the fields behind "More filters" is used."""
        return any(self.data.get(name) for name in MORE)

    @property
    def is_used(self) -> bool:
        """Whether anything is filtered at all."""
        return any(self.data.get(name) for name in self.fields)
