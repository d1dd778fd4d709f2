"""What counts tries of pages: shared through Redis, and still counting without it."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from accounts.services import create_user
from billing.redemption import WRONG_GUESSES, redeem
from costrouter.celery import SCHEDULE, app
from costrouter.lib import caches
from costrouter.sign_in.tasks import forget_sessions
from tests.servers import free_port, redis


def use_redis(settings: Any, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(caches, "_resting_until", 0.0)
    settings.CACHES = {
        **settings.CACHES,
        "default": {"BACKEND": "costrouter.lib.caches.SteadyRedisCache", "LOCATION": url, "KEY_PREFIX": "page"},
    }


def test_it_is_redis_where_there_is_one(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis import Redis

    with redis() as url:
        use_redis(settings, monkeypatch, url)
        assert cache.add("lock", 1, 60) is True
        assert cache.add("lock", 1, 60) is False
        cache.set("times", [2.5, 1.5], 60)
        assert cache.get("times") == [2.5, 1.5]
        assert cache.get("nothing", []) == []
        assert cache.delete("times") is True
        assert cache.get("times") is None
        assert Redis.from_url(url).keys() == [b"page:1:lock"]


def test_without_redis_each_process_counts(settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    use_redis(settings, monkeypatch, f"redis://127.0.0.1:{free_port()}/0")
    name = f"lock-{timezone.now().timestamp()}"
    assert cache.add(name, 1, 60) is True
    assert cache.add(name, 1, 60) is False
    cache.set(name, [2.5], 60)
    assert cache.get(name) == [2.5]
    assert cache.delete(name) is True
    assert cache.get(name, "none") == "none"
    cache.add(name, 1, 60)
    assert (cache.incr(name), cache.incr(name), cache.decr(name)) == (2, 3, 2)
    # It was asked once, and is left alone for a while.
    assert caplog.text.count("Redis does not answer") == 1


@pytest.mark.django_db
def test_sign_in_works_and_is_limited_without_redis(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use_redis(settings, monkeypatch, f"redis://127.0.0.1:{free_port()}/0")
    create_user(email="alice@example.com", password="correct horse")
    wrong = {"login": f"{timezone.now().timestamp()}@example.com", "password": "wrong"}
    said = [Client().post("/accounts/login/", wrong).content.decode() for _ in range(6)]
    assert ["not correct" in page for page in said] == [True] * 5 + [False]
    assert "Too many failed login attempts" in said[5]
    answer = Client().post("/accounts/login/", {"login": "alice@example.com", "password": "correct horse"})
    assert answer.url == "/console/"


@pytest.mark.django_db
def test_codes_are_not_to_be_guessed_without_redis_either(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use_redis(settings, monkeypatch, f"redis://127.0.0.1:{free_port()}/0")
    member = create_user(email="alice@example.com").memberships.select_related("organization").get()
    said = []
    for _ in range(WRONG_GUESSES + 1):
        with pytest.raises(ValidationError) as refused:
            redeem(member=member, code="CR-AAAA-AAAA-AAAA-AAAA")
        said.append(refused.value.code)
    assert said == ["unknown"] * WRONG_GUESSES + ["too_many"]


@pytest.mark.django_db
def test_sessions_that_have_run_out_are_forgotten(visitor: Client) -> None:
    create_user(email="alice@example.com", password="correct horse")
    old = Client()
    for client in (old, visitor):
        client.post("/accounts/login/", {"login": "alice@example.com", "password": "correct horse"})
    key = old.cookies["sessionid"].value
    Session.objects.filter(pk=key).update(expire_date=timezone.now())
    assert forget_sessions() == 1
    kept = visitor.cookies["sessionid"].value
    assert list(Session.objects.values_list("pk", flat=True)) == [kept]
    assert list(UserSession.objects.values_list("session_key", flat=True)) == [kept]
    assert forget_sessions() == 0


def test_forgetting_is_scheduled() -> None:
    app.loader.import_default_modules()
    [task] = [task for task, _when, _period in SCHEDULE if task == forget_sessions.name]
    assert task in app.tasks
