"""Rate limits: exact counts, in this process and in a Redis that two workers share, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from accounts.changes import current_version
from accounts.models import ApiKey, Organization
from accounts.selectors import KeyInfo, RateLimits, key_by_digest
from accounts.services import create_api_key, save_api_key, save_organization
from relay.entry.limits import admission as limits_module
from relay.entry.limits.admission import FREE, Admission, Limits, estimated_tokens
from relay.entry.limits.redis import SLOT_MS, RedisStore
from relay.errors import RelayError
from tests import servers
from tests.cast.admin import acme, operator


class Clock:
    """Seconds, which pass only where a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def key(
    *,
    number: int = 7,
    organization: int = 3,
    requests: int | None = None,
    tokens: int | None = None,
    concurrent: int | None = None,
    of_organization: RateLimits | None = None,
) -> KeyInfo:
    own = RateLimits(requests, tokens, concurrent)
    return KeyInfo(
        id=number,
        name="test",
        user_id=1,
        organization_id=organization,
        enabled=True,
        expires_at=None,
        allowed_models=frozenset(),
        allowed_ips=(),
        group="default",
        user_active=True,
        organization_active=True,
        limits=None if own == RateLimits() else own,
        organization_limits=of_organization,
    )


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    try:
        with servers.redis() as url:
            yield url
    except servers.ServerMissing as missing:
        pytest.skip(str(missing))


class Workers:
    """Two web processes' limits and their clock. In one process the two are one."""

    def __init__(self, url: str | None) -> None:
        self.clock = Clock()
        first = Limits(url, clock=self.clock)
        self.each = (first, Limits(url, clock=self.clock) if url else first)
        self._next = 0

    async def admit(self, who: KeyInfo, tokens: int = 1, **options: Any) -> Admission:
        """Through the workers by turns."""
        self._next += 1
        return await self.each[self._next % 2].admit(who, tokens=tokens, **options)

    async def refused(self, who: KeyInfo, tokens: int = 1, **options: Any) -> RelayError:
        with pytest.raises(RelayError) as caught:
            await self.admit(who, tokens, **options)
        assert (caught.value.code, caught.value.status) == ("rate_limit_exceeded", 429)
        return caught.value

    async def over(self, admission: Admission, used: int | None) -> None:
        """The request is over, and everybody knows."""
        admission.release(used)
        await asyncio.gather(*(t for t in asyncio.all_tasks() if t.get_name().startswith("release")))


Run = Callable[[Callable[[Workers], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["process", "redis"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test with workers, in one process and again over a Redis that is empty."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None

    def run_it(test: Callable[[Workers], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            workers = Workers(url)
            if workers.each[0].shared is not None:
                await workers.each[0].shared._client.flushall()
            try:
                await test(workers)
            finally:
                for limits in set(workers.each):
                    await limits.close()

        asyncio.run(main())

    return run_it


def test_no_limit_costs_nothing() -> None:
    coroutine = Limits(None).admit(key(), tokens=10)

    with pytest.raises(StopIteration) as returned:
        coroutine.send(None)

    admission = returned.value.value
    assert admission is FREE
    admission.release(5)
    assert admission.headers("openai") == []


def test_requests_of_any_minute_are_exactly_the_limit(run: Run) -> None:
    async def test(workers: Workers) -> None:
        who = key(requests=5)
        for _ in range(3):
            (await workers.admit(who)).release(None)
        workers.clock.now += 30
        outcomes = await asyncio.gather(*(workers.admit(who) for _ in range(20)), return_exceptions=True)
        assert sum(isinstance(outcome, Admission) for outcome in outcomes) == 2

        workers.clock.now += 29.999
        assert (await workers.refused(who)).headers["retry-after"] == "1"
        workers.clock.now += 0.001
        for _ in range(3):
            await workers.admit(who)
        error = await workers.refused(who)

        assert error.message == (
            "Rate limit reached: this API key is limited to 5 requests a minute; 5 are used. Try again in 30 s."
        )
        assert error.headers == {
            "x-ratelimit-limit-requests": "5",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "60s",
            "retry-after": "30",
        }

    run(test)


def test_each_key_and_each_organization_has_its_own_count(run: Run) -> None:
    async def test(workers: Workers) -> None:
        for number in (1, 2):
            for organization in (1, 2):
                await workers.admit(key(number=number, organization=organization, requests=1))
                await workers.refused(key(number=number, organization=organization, requests=1))

    run(test)


def test_an_organizations_limit_holds_for_all_its_keys_and_what_is_refused_counts_nowhere(run: Run) -> None:
    async def test(workers: Workers) -> None:
        together = RateLimits(requests_per_minute=3)
        first = key(number=1, requests=10, of_organization=together)
        second = key(number=2, requests=10, of_organization=together)
        for who in (first, second, first):
            await workers.admit(who)
        error = await workers.refused(second)
        assert "this organization is limited to 3 requests a minute" in error.message

        # The refused request left no trace in the key's own window: nine more fit.
        alone = key(number=2, requests=10)
        for _ in range(9):
            await workers.admit(alone)
        await workers.refused(alone)

    run(test)


def test_headers_tell_of_the_tighter_limit_in_the_words_of_the_clients_family(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module.time, "time", lambda: 1_795_000_000.5)

    async def test(workers: Workers) -> None:
        who = key(requests=10, tokens=1_000, concurrent=9, of_organization=RateLimits(4, 5_000, None))
        await workers.admit(who, 100)
        admission = await workers.admit(who, 150)

        openai = [
            (b"x-ratelimit-limit-requests", b"4"),
            (b"x-ratelimit-remaining-requests", b"2"),
            (b"x-ratelimit-reset-requests", b"60s"),
            (b"x-ratelimit-limit-tokens", b"1000"),
            (b"x-ratelimit-remaining-tokens", b"750"),
            (b"x-ratelimit-reset-tokens", b"60s"),
        ]
        assert admission.headers("openai") == admission.headers("gemini") == openai
        anthropic = admission.headers("anthropic")
        assert [pair for pair in anthropic if pair[0].startswith(b"x-")] == openai
        assert [pair for pair in anthropic if not pair[0].startswith(b"x-")] == [
            (b"anthropic-ratelimit-requests-limit", b"4"),
            (b"anthropic-ratelimit-requests-remaining", b"2"),
            (b"anthropic-ratelimit-requests-reset", b"2026-11-18T11:07:40Z"),
            (b"anthropic-ratelimit-tokens-limit", b"1000"),
            (b"anthropic-ratelimit-tokens-remaining", b"750"),
            (b"anthropic-ratelimit-tokens-reset", b"2026-11-18T11:07:40Z"),
        ]
        workers.clock.now += 12.5
        refused = await workers.refused(who, 900, family="anthropic")
        assert refused.headers["anthropic-ratelimit-tokens-reset"] == "2026-11-18T11:07:28Z"
        assert refused.headers["x-ratelimit-reset-tokens"] == "47.5s"
        assert refused.headers["retry-after"] == "48"

    run(test)


def test_the_tighter_limit_is_the_one_with_less_left(run: Run) -> None:
    async def test(workers: Workers) -> None:
        together = RateLimits(requests_per_minute=5)
        for _ in range(3):
            await workers.admit(key(number=1, of_organization=together))
        admission = await workers.admit(key(number=2, requests=4, of_organization=together))

        assert admission.headers("openai")[:2] == [
            (b"x-ratelimit-limit-requests", b"5"),
            (b"x-ratelimit-remaining-requests", b"1"),
        ]

    run(test)


def test_tokens_count_as_estimated_until_the_request_is_over_then_as_used(run: Run) -> None:
    async def test(workers: Workers) -> None:
        who = key(tokens=1_000)

        async def left() -> int:
            admission = await workers.admit(who, 1)
            [remaining] = [v for n, v in admission.headers("openai") if n == b"x-ratelimit-remaining-tokens"]
            await workers.over(admission, 0)
            return int(remaining) + 1

        less = await workers.admit(who, 300)
        more = await workers.admit(who, 300)
        unknown = await workers.admit(who, 300)
        assert (await workers.refused(who, 101)).headers["x-ratelimit-remaining-tokens"] == "100"
        await workers.over(less, 120)
        assert await left() == 280
        workers.clock.now += 20
        await workers.over(more, 450)
        assert await left() == 130
        await workers.over(unknown, None)
        assert await left() == 130

        # What was estimated leaves the window with its request, what came on top a minute after the request ended.
        workers.clock.now += 40
        assert await left() == 850
        workers.clock.now += 20
        assert await left() == 1_000

    run(test)


def test_a_request_that_ends_after_its_estimate_has_left_the_window(run: Run) -> None:
    async def test(workers: Workers) -> None:
        who = key(tokens=1_000)
        saved = await workers.admit(who, 400)
        spent = await workers.admit(who, 400)
        workers.clock.now += 61
        await workers.over(saved, 100)
        await workers.over(spent, 1_400)

        error = await workers.refused(who, 1)

        assert "limited to 1,000 tokens a minute; 1,000 are used. Try again in 60 s." in error.message
        workers.clock.now += 60
        await workers.admit(who, 1_000)

    run(test)


def test_answers_under_way_may_exceed_the_limit_and_keep_the_next_out_until_there_is_room(run: Run) -> None:
    async def test(workers: Workers) -> None:
        who = key(tokens=100)
        admission = await workers.admit(who, 10)
        workers.clock.now += 10
        await workers.over(admission, 500)

        error = await workers.refused(who, 5)

        assert (error.headers["x-ratelimit-remaining-tokens"], error.headers["retry-after"]) == ("0", "60")
        workers.clock.now += 59.9
        await workers.refused(who, 5)
        workers.clock.now += 0.1
        await workers.admit(who, 5)

    run(test)


def test_the_wait_for_tokens_is_until_enough_of_them_leave(run: Run) -> None:
    async def test(workers: Workers) -> None:
        who = key(tokens=1_000)
        for _ in range(250):
            await workers.admit(who, 4)
            workers.clock.now += 0.125

        assert (await workers.refused(who, 4)).headers["retry-after"] == "29"
        # 124 entries must go; the last of them was made at 15.375 s, and it is 31.25 s now. Of 123: 44 s.
        assert (await workers.refused(who, 496)).headers["retry-after"] == "45"
        assert (await workers.refused(who, 1_000)).headers["retry-after"] == "60"

    run(test)


def test_a_request_that_alone_is_more_than_the_limit_is_told_not_to_try_again(run: Run) -> None:
    async def test(workers: Workers) -> None:
        error = await workers.refused(key(requests=5, tokens=1_000), 1_001)

        assert error.message == (
            "Rate limit reached: this API key is limited to 1,000 tokens a minute; this request alone counts 1,001. "
            "Shorten it."
        )
        assert error.headers["x-should-retry"] == "false"
        assert error.headers["x-ratelimit-remaining-requests"] == "5"

    run(test)


def test_requests_at_the_same_time_are_exactly_the_limit_and_a_second_release_frees_nothing(run: Run) -> None:
    async def test(workers: Workers) -> None:
        who = key(concurrent=3)
        outcomes = await asyncio.gather(*(workers.admit(who) for _ in range(10)), return_exceptions=True)
        first, *others = [outcome for outcome in outcomes if isinstance(outcome, Admission)]
        assert len(others) == 2
        error = await workers.refused(who)
        assert "limited to 3 requests at the same time; 3 are used" in error.message
        assert error.headers == {"retry-after": "1"}

        await workers.over(first, None)
        await workers.over(first, None)
        await workers.admit(who)
        await workers.refused(who)

    run(test)


def test_a_raised_limit_forgets_nothing(run: Run) -> None:
    async def test(workers: Workers) -> None:
        await workers.admit(key(requests=1))
        await workers.refused(key(requests=1))
        await workers.admit(key(requests=3))
        await workers.admit(key(requests=3))
        await workers.refused(key(requests=3))

    run(test)


def test_a_process_keeps_no_window_in_which_nothing_counts() -> None:
    clock = Clock()
    limits = Limits(None, clock=clock)

    async def test() -> None:
        for number in range(100):
            (await limits.admit(key(number=number, requests=1, tokens=9, concurrent=1), tokens=1)).release(2)
        clock.now += 61
        await limits.admit(key(number=200, requests=1), tokens=1)

    asyncio.run(test())
    assert [check.owner for check in limits.local._windows] == ["key:200"]
    assert (limits.local._open, limits.local._reserved) == ({}, {})


def test_slots_of_a_killed_worker_come_free_and_those_of_a_living_one_do_not(redis_url: str) -> None:
    async def test() -> None:
        workers = Workers(redis_url)
        killed, living = workers.each
        store = living.shared
        assert store is not None
        await store._client.flushall()
        who = key(concurrent=2)
        await killed.admit(who, tokens=1)
        await living.admit(who, tokens=1)
        workers.clock.now += SLOT_MS / 1000 - 1
        await store.renew()
        await workers.refused(who)

        workers.clock.now += 1
        replaced = await living.admit(who, tokens=1)

        await workers.refused(who)
        # Renewing does not bring back what was released meanwhile.
        slots = store._open[replaced._request]
        await workers.over(replaced, None)
        assert replaced._request not in store._open
        store._open[replaced._request] = slots
        await store.renew()
        await living.admit(who, tokens=1)
        for limits in workers.each:
            await limits.close()

    asyncio.run(test())


def test_redis_keeps_nothing_for_ever_and_counts_on_its_own_clock(redis_url: str) -> None:
    async def test() -> None:
        limits = Limits(redis_url)
        assert limits.shared is not None
        client = limits.shared._client
        await client.flushall()
        who = key(requests=2, tokens=100, concurrent=2)
        admission = await limits.admit(who, tokens=10)
        admission.release(30)
        await asyncio.gather(*(t for t in asyncio.all_tasks() if t.get_name().startswith("release")))
        await limits.admit(who, tokens=10)
        with pytest.raises(RelayError, match="2 requests a minute"):
            await limits.admit(who, tokens=10)

        names = await client.keys("*")
        assert len(names) == 4
        assert all([0 < await client.pttl(name) <= 120_000 for name in names])

        # Redis has forgotten what was admitted long ago: what it is told then goes as well.
        late = await limits.admit(key(number=8, tokens=100, concurrent=2), tokens=10)
        await client.flushall()
        late.release(30)
        await asyncio.gather(*(t for t in asyncio.all_tasks() if t.get_name().startswith("release")))
        names = await client.keys("*")
        assert sorted(names) == [b"costrouter:limit:{3}:key:8:tokens", b"costrouter:limit:{3}:key:8:tokens:sum"]
        assert all([0 < await client.pttl(name) <= 120_000 for name in names])
        # A sum whose entries are gone counts nothing.
        await client.delete("costrouter:limit:{3}:key:8:tokens")
        admission = await limits.admit(key(number=8, tokens=100), tokens=100)
        assert dict(admission.headers("openai"))[b"x-ratelimit-remaining-tokens"] == b"0"
        await limits.close()

    asyncio.run(test())


def test_while_redis_is_away_each_process_counts_for_itself_and_asks_again_later(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        workers = Workers(redis_url)
        first, second = workers.each
        assert first.shared is not None and second.shared is not None
        there = first.shared._client
        await there.flushall()
        who = key(requests=1, concurrent=5)
        during = await first.admit(who, tokens=1)
        gone = RedisStore(f"redis://127.0.0.1:{servers.free_port()}/0", workers.clock)
        with_redis = first.shared
        first.shared = gone

        await first.admit(who, tokens=1)
        with pytest.raises(RelayError, match="1 requests a minute"):
            await first.admit(who, tokens=1)
        workers.clock.now += 0.5
        first.shared = with_redis
        with pytest.raises(RelayError, match="1 requests a minute"):
            await first.admit(who, tokens=1)
        # Within a second of its failure Redis is not asked.
        await first.admit(key(number=8, requests=1), tokens=1)
        assert await there.exists("costrouter:limit:{3}:key:8:requests") == 0
        workers.clock.now += 60
        await first.admit(who, tokens=1)
        with pytest.raises(RelayError, match="1 requests a minute"):
            await second.admit(who, tokens=1)

        # What Redis admitted is released there, and while it is away that is no error either.
        await workers.over(during, None)
        assert await there.zcard("costrouter:limit:{3}:key:7:concurrent") == 1
        gone.release("any", [], 1, 1)
        await gone.close()
        for limits in workers.each:
            await limits.close()

    with caplog.at_level(logging.WARNING, "relay.entry.limits.admission"):
        asyncio.run(test())
    assert [record.message for record in caplog.records] == [
        "rate limits: Redis is away, each process counts for itself: ConnectionError",
        "rate limits: Redis is back",
    ]


def test_a_request_cancelled_while_redis_is_asked_leaves_no_slot(redis_url: str) -> None:
    async def test() -> None:
        limits = Limits(redis_url)
        assert limits.shared is not None
        client = limits.shared._client
        await client.flushall()
        who = key(concurrent=1)
        run_script, counted = limits.shared._admit, asyncio.Event()

        async def never_answered(*arguments: Any) -> None:
            await run_script(*arguments)
            counted.set()
            await asyncio.Event().wait()

        limits.shared._admit = never_answered
        asking = asyncio.ensure_future(limits.admit(who, tokens=1))
        await counted.wait()
        assert await client.zcard("costrouter:limit:{3}:key:7:concurrent") == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.gather(*(t for t in asyncio.all_tasks() if t.get_name().startswith("release")))

        assert await client.zcard("costrouter:limit:{3}:key:7:concurrent") == 0
        await limits.close()

    asyncio.run(test())


@pytest.mark.parametrize(
    ("text_bytes", "messages", "tokens"), [(0, 0, 1), (1, 0, 1), (4, 0, 1), (5, 0, 2), (400, 3, 112)]
)
def test_the_estimate_is_four_bytes_a_token_and_four_tokens_a_message(
    text_bytes: int, messages: int, tokens: int
) -> None:
    assert estimated_tokens(text_bytes=text_bytes, messages=messages) == tokens


@pytest.mark.django_db
def test_the_relay_is_told_of_a_keys_and_an_organizations_limits() -> None:
    cast = acme()
    organization: Organization = cast.organization
    fresh, _ = create_api_key(organization=organization, user=cast.alice, name="plain")
    plain = key_by_digest(fresh.digest)
    before = current_version()
    fresh.tokens_per_minute = 5_000
    save_api_key(key=fresh)
    organization.requests_per_minute, organization.concurrent_requests = 60, 4
    save_organization(organization=organization)

    limited = key_by_digest(fresh.digest)

    assert plain is not None and (plain.limits, plain.organization_limits) == (None, None)
    assert limited is not None and current_version() == before + 2
    assert limited.limits == RateLimits(None, 5_000, None)
    assert limited.organization_limits == RateLimits(60, None, 4)


@pytest.mark.django_db
def test_an_operator_sets_limits_on_a_new_key_and_on_an_organization() -> None:
    client, cast = operator(), acme()
    form = {"organization": cast.organization.pk, "user": cast.alice.pk, "name": "ci", "group": "default"}
    form |= {"allowed_ips": "", "expires_at_0": "", "expires_at_1": ""}
    url = f"/admin/accounts/organization/{cast.organization.pk}/change/"
    shown = client.get(url).context["adminform"].form.initial

    refused = client.post("/admin/accounts/apikey/add/", {**form, "requests_per_minute": "0"})
    client.post("/admin/accounts/apikey/add/", {**form, "requests_per_minute": "60", "tokens_per_minute": "90000"})

    assert "requests_per_minute" in refused.context["adminform"].form.errors
    made = ApiKey.objects.get(name="ci")
    assert (made.requests_per_minute, made.tokens_per_minute, made.concurrent_requests) == (60, 90_000, None)
    assert "60 requests/min, 90,000 tokens/min" in client.get("/admin/accounts/apikey/").content.decode()
    assert shown["concurrent_requests"] is None
