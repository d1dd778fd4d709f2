"""What a request holds before it is sent, how a thin wallet caps it, and when it is refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from billing.models import Budget, Wallet
from billing.services import append_price, save_budget, set_credit_limit, wallet_of
from channels_app.models import ModelGroup
from channels_app.services import save_group
from tests.cast.waiting import eventually
from tests.doubles.upstream import COST, DONE, ask, completion, delta, json_reply, sse_reply, whole_stream

CHAT = "/v1/chat/completions"
# "hello" in UTF-8, 16 a message, 64 a request: tokens, at 1,000 nanos each.
INPUT = (5 + 16 + 64) * 1_000
TOKEN = 2_000  # an output token, in nanos
LEAST = 4_096


@pytest.fixture
def wide(world):
    """A model that may answer at length, at the prices of `double-1`."""
    return world.new_model("wide", context_window=100_000, max_output=32_768, input="1", output="2")


def bob(world, relay, **fields):
    """A request of Bob's, whose wallet is as thin as a test makes it."""
    headers = {"authorization": f"Bearer {world.bobs_secret}"}
    return httpx.post(relay.url + CHAT, json=ask(**fields), headers=headers, timeout=20)


def test_a_rich_wallets_request_is_untouched(world, upstream, relay, client, wide):
    world.new_channel(upstream.url, models={wide: ""})
    relay.settled_down()

    response = client.post(CHAT, json=ask(model="wide"))

    assert upstream.seen[0].json == ask(model="wide")
    assert "x-costrouter-max-output" not in response.headers
    record = world.record()
    assert (record.held_nanos, record.cost_nanos) == (INPUT + 32_768 * TOKEN, COST)
    assert world.prove()["charged_nanos"] == COST


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("provider", "field"), [("openai_compatible", "max_tokens"), ("openai", "max_completion_tokens")]
)
def test_a_thin_wallet_caps_the_answer_in_the_channels_own_field(world, upstream, relay, wide, provider, field, stream):
    world.credit(100_000_000, organization=world.bobs)
    world.new_channel(upstream.url, models={wide: ""}, provider=provider)
    relay.settled_down()
    upstream.script.append(sse_reply(whole_stream("Hi")) if stream else json_reply(completion()))

    response = bob(world, relay, model="wide", stream=stream, max_tokens=None)

    # An eighth of what is left is held, and pays for this many tokens.
    cap = (100_000_000 // 8 - INPUT) // TOKEN
    assert cap == 6_207
    assert upstream.seen[0].json[field] == cap
    assert response.headers["x-costrouter-max-output"] == str(cap)
    assert world.record().held_nanos == 12_500_000
    assert world.prove()["charged_nanos"] == COST


def test_each_of_several_choices_gets_its_share_of_the_hold(world, upstream, relay, wide):
    world.credit(100_000_000, organization=world.bobs)
    world.new_channel(upstream.url, models={wide: ""})
    relay.settled_down()

    response = bob(world, relay, model="wide", n=3)

    assert response.headers["x-costrouter-max-output"] == str(LEAST)
    assert upstream.seen[0].json["max_tokens"] == LEAST
    assert world.record().held_nanos == INPUT + 3 * LEAST * TOKEN
    assert world.prove()["charged_nanos"] == COST


OWN_CAPS = {
    "max_tokens": ({"max_tokens": 100}, 100),
    "max_completion_tokens": ({"max_completion_tokens": 7_000}, 7_000),
    "as a float": ({"max_tokens": 100.0}, 100),
    "both": ({"max_tokens": 100, "max_completion_tokens": 200}, 200),
    "beyond the model's maximum": ({"max_tokens": 1_000_000}, 32_768),
    "for each choice": ({"max_tokens": 100, "n": 4}, 400),
}


@pytest.mark.parametrize("case", OWN_CAPS)
def test_a_clients_own_cap_is_held_for_and_never_changed(world, upstream, relay, wide, case):
    world.credit(100_000_000, organization=world.bobs)
    world.new_channel(upstream.url, models={wide: ""})
    relay.settled_down()
    fields, tokens = OWN_CAPS[case]

    response = bob(world, relay, model="wide", **fields)

    assert upstream.seen[0].json == ask(model="wide", **fields)
    assert "x-costrouter-max-output" not in response.headers
    assert world.record().held_nanos == INPUT + tokens * TOKEN
    assert world.prove()["charged_nanos"] == COST


def test_a_refusal_says_what_it_needs_what_there_is_and_what_that_affords(world, upstream, relay):
    world.credit(1_000_000, organization=world.bobs)
    world.new_channel(upstream.url)
    relay.settled_down()

    response = bob(world, relay)

    # Before refusing, the text is counted: one token, a tenth more, and 64.
    assert response.json()["error"] == {
        "message": "This request needs $0.002066, but this organization's balance has only $0.001 available, "
        "which affords 467 output tokens. Top up, shorten the input, or ask for fewer output tokens.",
        "type": "insufficient_quota",
        "param": None,
        "code": "insufficient_balance",
    }
    assert (1_000_000 - 66 * 1_000) // TOKEN == 467
    assert response.headers["x-should-retry"] == "false"
    assert upstream.seen == []
    record = world.record()
    assert (record.status, record.cost_nanos, record.held_nanos) == ("refused", 0, 0)
    assert world.prove()["charged_nanos"] == 0


def test_what_a_refusal_says_it_affords_is_then_granted(world, upstream, relay):
    world.credit(1_000_000, organization=world.bobs)
    world.new_channel(upstream.url)
    relay.settled_down()
    assert bob(world, relay, max_tokens=468).status_code == 403
    assert bob(world, relay, max_tokens=467).status_code == 200
    assert world.prove()["charged_nanos"] == COST


def test_counting_the_text_saves_a_request_that_its_bytes_would_refuse(world, upstream, relay):
    world.credit(4_000_000, organization=world.bobs)
    world.new_channel(upstream.url)
    relay.settled_down()
    text = "hello " * 1_000

    response = bob(world, relay, messages=[{"role": "user", "content": text}])

    assert response.status_code == 200
    assert (len(text) + 80) * 1_000 + 1_000 * TOKEN > 4_000_000
    counted = -(-1_001 * 11 // 10) + 64
    assert world.record().held_nanos == counted * 1_000 + 1_000 * TOKEN
    assert world.prove()["charged_nanos"] == COST


def test_the_context_window_bounds_the_input(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()
    client.post(CHAT, json=ask(messages=[{"role": "user", "content": "x" * 1_000_000}]))
    assert world.record().held_nanos == 8_000 * 1_000 + 1_000 * TOKEN
    world.prove()


def test_a_model_of_unknown_size_holds_for_32768_tokens(world, upstream, relay, client):
    unknown = world.new_model("unknown", context_window=None, max_output=None, input="1", output="2")
    world.new_channel(upstream.url, models={unknown: ""})
    relay.settled_down()
    client.post(CHAT, json=ask(model="unknown"))
    assert world.record().held_nanos == INPUT + 32_768 * TOKEN
    world.prove()


def test_media_tools_and_what_is_read_as_input_are_held_for(world, upstream, relay, client):
    big = world.new_model("big", context_window=1_000_000, max_output=10, input="1", output="2")
    world.new_channel(upstream.url, models={big: ""})
    relay.settled_down()
    parts = [
        {"type": "text", "text": "héllo"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}},
        {"type": "input_audio", "input_audio": {"data": "A" * 100_000, "format": "wav"}},
        {"type": "file", "file": {"file_data": "A" * 100_000, "filename": "a.pdf"}},
    ]
    tools = [{"type": "function", "function": {"name": "f"}}]

    client.post(CHAT, json=ask(model="big", messages=[{"role": "user", "content": parts}], tools=tools))

    text = len("héllo".encode()) + len(b'[{"type":"function","function":{"name":"f"}}]') + 16 + 64 + 600
    assert world.record().held_nanos == (text + 4_096 + 8_192 + 65_536) * 1_000 + 10 * TOKEN
    world.prove()


def test_what_costs_nothing_needs_no_money(world, upstream, relay):
    free = world.new_model("free", input="0", output="0")
    world.new_channel(upstream.url, models={free: ""})
    relay.settled_down()
    assert bob(world, relay, model="free").status_code == 200
    record = world.record()
    assert (record.status, record.cost_nanos, record.units) == ("ok", 0, {"input": 10, "output": 5})
    assert world.prove()["charged_nanos"] == 0


def test_a_budget_refuses_what_the_wallet_would_pay(world, upstream, relay, client):
    save_budget(
        budget=Budget(organization=world.organization, api_key=world.key, limit_nanos=1_000_000, window="total")
    )
    world.new_channel(upstream.url)
    relay.settled_down()

    error = client.post(CHAT, json=ask()).json()["error"]

    assert (error["code"], error["type"]) == ("budget_exceeded", "insufficient_quota")
    assert "the budget of this API key, member or organization has only $0.001 available" in error["message"]
    assert client.post(CHAT, json=ask(max_tokens=10)).status_code == 200
    assert Budget.objects.get().spent_nanos == COST
    assert upstream.seen[0].json["max_tokens"] == 10
    assert world.prove()["charged_nanos"] == COST


def test_credit_is_as_good_as_money(world, upstream, relay):
    wallet = wallet_of(organization=world.bobs)
    set_credit_limit(wallet=wallet, limit_nanos=3_000_000, actor=world.alice, reason="trusted", idempotency_key="limit")
    world.new_channel(upstream.url)
    relay.settled_down()
    assert bob(world, relay).status_code == 200
    world.prove()
    assert Wallet.objects.get(pk=world.bobs.pk).balance_nanos == -COST


def test_a_group_has_its_own_rate(world, upstream, relay):
    gold = save_group(group=ModelGroup(name="gold", rate="2.5"))
    world.new_channel(upstream.url, groups=[gold])
    _, secret = world.new_key(group="gold")
    relay.settled_down()
    httpx.post(relay.url + CHAT, json=ask(), headers={"authorization": f"Bearer {secret}"})
    record = world.record()
    assert (record.group, str(record.rate), record.cost_nanos) == ("gold", "2.5000", COST * 5 // 2)
    assert record.held_nanos == (INPUT + 1_000 * TOKEN) * 5 // 2
    assert world.prove()["charged_nanos"] == COST * 5 // 2


def test_the_price_is_that_of_the_moment_of_the_hold(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()
    old, gate = world.price(), threading.Event()
    upstream.script.append(sse_reply(whole_stream("Hi"), gates={2: gate}))

    with client.stream("POST", CHAT, json=ask(stream=True)) as response:
        events = response.iter_raw()
        first = next(events)
        append_price(model_name="double-1", units={"input": "100", "output": "200"})
        eventually(lambda: relay.runtime.snapshot.prices["double-1"][0].units["input"] == 100)
        gate.set()
        assert b"".join(events).endswith(DONE)
    client.post(CHAT, json=ask())

    assert first.startswith(delta("", role="assistant"))
    dear, cheap = sorted(world.records(), key=lambda record: -record.cost_nanos)
    assert (cheap.price_id, cheap.cost_nanos) == (old.pk, COST)
    assert (dear.price_id, dear.cost_nanos) == (world.price().pk, 100 * COST)
    assert world.prove()["charged_nanos"] == 101 * COST


def test_many_at_once_cannot_spend_what_is_not_there(world, upstream, relay):
    """Twenty at once on a wallet for five: five are served, and what they leave serves more."""
    each = INPUT + 1_000 * TOKEN
    world.credit(5 * each, organization=world.bobs)
    world.new_channel(upstream.url)
    relay.settled_down()
    gate = threading.Event()
    upstream.default = json_reply(completion(), gates={0: gate})

    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(bob, world, relay) for _ in range(20)]
        eventually(lambda: sum(call.done() for call in calls) == 15 and len(upstream.seen) == 5)
        wallet = Wallet.objects.get(pk=world.bobs.pk)
        assert (wallet.balance_nanos, wallet.held_nanos) == (5 * each, 5 * each)
        gate.set()
        answers = [call.result() for call in calls]

    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [403] * 15
    assert {a.json()["error"]["code"] for a in answers if a.status_code == 403} == {"insufficient_balance"}
    assert bob(world, relay).status_code == 200
    assert world.prove()["charged_nanos"] == 6 * COST
    assert Wallet.objects.get(pk=world.bobs.pk).balance_nanos == 5 * each - 6 * COST
