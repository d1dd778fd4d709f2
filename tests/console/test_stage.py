"""The stage that pages are looked at on is a sound site: its money reconciles, its day totals are its records."""

from __future__ import annotations

from billing.models import DayTotal
from billing.reconciliation import reconcile
from tests.browser.stage import build


def test_the_stage_is_sound(transactional_db: None) -> None:
    stage = build(requests=60)

    assert reconcile()["breaches"] == []
    assert sum(DayTotal.objects.values_list("requests", flat=True)) == 60
    assert stage.record.organization_id == stage.organization.pk
