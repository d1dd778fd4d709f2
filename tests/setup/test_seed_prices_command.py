"""`manage.py seed_prices`."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing.models import Price


@pytest.mark.django_db
def test_the_command_prints_json() -> None:
    out = StringIO()
    call_command("seed_prices", "--provider", "anthropic", "--model", "claude-opus-4-5", "--json", stdout=out)
    report = json.loads(out.getvalue())
    assert report["dry_run"] is False
    assert report["appended"][0] == {
        "model": "claude-opus-4-5",
        "tier": "standard",
        "effective_from": None,
        "units": {
            "input": "5",
            "cache_read": "0.5",
            "cache_write_5m": "6.25",
            "cache_write_1h": "10",
            "output": "25",
            "searches": "0.01",
        },
        "long_context_above": None,
        "long_context_units": {},
    }


@pytest.mark.django_db
def test_the_command_says_what_it_did() -> None:
    out = StringIO()
    call_command("seed_prices", "--model", "claude-haiku-5-5", "--dry-run", stdout=out)
    first, *_, last = out.getvalue().splitlines()
    assert first == (
        "+ claude-haiku-5-5 [standard]: input=0.1 cache_read=0.01 cache_write_5m=0.125 cache_write_1h=0.2 output=0.5 "
        "searches=0.01 | above 100000: input=0.5 cache_read=0.05 cache_write_5m=0.625 cache_write_1h=1 output=2.5"
    )
    assert "would append 2 prices; 0 models unchanged, 0 priced by you, 0 skipped, 0 catalogue entries." in last


@pytest.mark.django_db
def test_the_command_fails_for_what_it_does_not_know() -> None:
    with pytest.raises(CommandError, match="no provider acme in genai-prices"):
        call_command("seed_prices", "--provider", "openai,acme", stdout=StringIO())
    with pytest.raises(CommandError, match="Without a price: no-such-model"):
        call_command("seed_prices", "--model", "no-such-model", stdout=StringIO())
    assert not Price.objects.exists()
