"""Every client meets every upstream, by its official SDK and streamed or not: the same questions, the same answers."""

from __future__ import annotations

import openai
import pytest

from tests.sdk.clients import CLIENTS, Ask, Forecast
from tests.sdk.mind import REFUSAL, THOUGHT

pytestmark = pytest.mark.any_database

# What one answer costs, in nanos: 3 USD a million in, 0.3 read from a cache, 3.75 written to one, 15 out.
COSTS = {
    "chat": 60 * 3_000 + 40 * 300 + 20 * 15_000,
    "responses": 60 * 3_000 + 40 * 300 + 20 * 15_000,
    "anthropic": 50 * 3_000 + 40 * 300 + 10 * 3_750 + 20 * 15_000,
    "gemini": 60 * 3_000 + 40 * 300 + 20 * 15_000,
}
# Why an answer ended, in each client's words.
STOPS = {
    "chat": {"stop": "stop", "calls": "tool_calls", "length": "length"},
    "responses": {"stop": "completed", "calls": "completed", "length": "incomplete: max_output_tokens"},
    "anthropic": {"stop": "end_turn", "calls": "tool_use", "length": "max_tokens"},
    "gemini": {"stop": "STOP", "calls": "STOP", "length": "MAX_TOKENS"},
}
# Name → (question, its answer, why that ended).
PLAIN = {
    "plain": (Ask("Hello you"), "Hello there, Zoë! 🌍", "stop"),
    "image": (Ask("Picture this", image=True), "A red pixel.", "stop"),
    "cap": (Ask("Long tale", cap=16), "Once upon a time", "length"),
    "structured": (Ask("Structure it", structured=True), '{"city": "Paris", "celsius": 18}', "stop"),
}
TOOLS = {
    "one call": (Ask("Weather in Paris", tools=True), ["Paris"]),
    "parallel calls": (Ask("Weather in Paris and Rome", tools=True), ["Paris", "Rome"]),
    "a call that must be": (Ask("Must be Paris", tools=True, choice="required"), ["Paris"]),
    "a call by name": (Ask("Named for Rome", tools=True, choice="get_weather"), ["Rome"]),
    "thought calls": (Ask("Consider Paris and Rome", tools=True, think=True), ["Paris", "Rome"]),
}
# What a refusal reads like, (text, refusal, stop): by a filter without a word, and in the model's own words.
REFUSED = {
    "chat": [("", "", "content_filter"), ("", REFUSAL, "stop")],
    "responses": [("", "", "incomplete: content_filter"), ("", REFUSAL, "completed")],
    "anthropic": [("", "", "refusal"), (REFUSAL, "", "refusal")],
    "gemini": [("", "", "SAFETY"), (REFUSAL, "", "STOP")],
}
# Chat has no word for showing thoughts, and these do not show them unasked.
HIDDEN = {("chat", "responses"), ("chat", "gemini")}
CALL_ID = {"chat": "call_{}aB", "responses": "call_{}aB", "anthropic": "toolu_{}aB", "gemini": "gem{}aB"}


def right(double, call, *args):
    """What a call returns, once the double had nothing to complain of."""
    try:
        return call(*args)
    finally:
        wrongs, double.wrongs = double.wrongs, []
        assert not wrongs, wrongs


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client(world, relay, everywhere, subtests, client, stream):
    charged = 0
    for upstream, double in everywhere.items():
        sdk = CLIENTS[client](relay.url, world.secret, f"to-{upstream}", stream=stream)
        answers = meet(sdk, double, subtests, f"{upstream}: ")
        sdk.close()
        with subtests.test(f"{upstream}: what it cost"):
            records = [record for record in world.records() if record.model == f"to-{upstream}"]
            assert [record.units for record in records] == [double.units] * answers
            assert [record.cost_nanos for record in records] == [COSTS[upstream]] * answers
            assert {(record.status, record.streamed) for record in records} == {("ok", stream)}
        charged += answers * COSTS[upstream]
    assert world.prove()["charged_nanos"] == charged


def meet(sdk, double, subtests, pair):
    """Ask an upstream everything by a client. Returns how many answers there were."""
    client, upstream, stream = sdk.dialect, double.dialect, sdk.stream
    usage, stops = sdk.usage_of(double.units), STOPS[client]
    answers = 0

    for name, (ask, text, stop) in PLAIN.items():
        with subtests.test(pair + name):
            heard = right(double, sdk.ask, ask)
            assert (heard.text, heard.calls, heard.stop) == (text, [], stops[stop])
            assert heard.usage == usage
            assert heard.parsed == (Forecast(city="Paris", celsius=18) if ask.structured else None)
            answers += 1

    for name, (ask, cities) in TOOLS.items():
        with subtests.test(pair + name):
            heard = right(double, sdk.ask, ask)
            ids = [CALL_ID[upstream].format(number) for number in range(len(cities))]
            assert heard.calls == [(id, "get_weather", {"city": city}) for id, city in zip(ids, cities, strict=True)]
            assert (heard.text, heard.stop, heard.usage) == ("", stops["calls"], usage)
            assert heard.thought == (THOUGHT if ask.think and (client, upstream) not in HIDDEN else "")
            heard = right(double, sdk.tell, {id: f"sunny in {city}" for id, city in zip(ids, cities, strict=True)})
            assert heard.text == "; ".join(f"{city}: sunny in {city}" for city in cities)
            assert (heard.calls, heard.stop, heard.usage) == ([], stops["stop"], usage)
            if ask.think:
                assert double.facts[-1].signed
            answers += 2

    with subtests.test(pair + "more of the same conversation"):  # the last had thoughts, two calls and their results
        assert right(double, sdk.more, "Hello you").text == "Hello there, Zoë! 🌍"
        heard = right(double, sdk.more, "Consider Rome")
        call = CALL_ID[upstream].format(2)
        assert heard.calls == [(call, "get_weather", {"city": "Rome"})]
        assert right(double, sdk.tell, {call: "rain"}).text == "Rome: rain"
        assert double.facts[-1].signed
        answers += 3

    with subtests.test(pair + "refusal"):
        try:
            heard = right(double, sdk.ask, Ask("Forbidden thing"))
            text, refusal, stop = REFUSED[client][upstream == "responses"]
            assert (heard.text, heard.refusal, heard.stop, heard.usage) == (text, refusal, stop, usage)
        except openai.ContentFilterFinishReasonError:  # its streaming helper's own word for a filter
            assert (client, stream, upstream != "responses") == ("chat", True, True)
        answers += 1

    if client != "responses" and upstream != "responses":
        with subtests.test(pair + "stop sequence"):
            heard = right(double, sdk.ask, Ask("Count up", stop="five"))
            told = (client, upstream) == ("anthropic", "anthropic")
            assert (heard.text, heard.usage) == ("one two three four ", usage)
            assert (heard.stop, heard.sequence) == (("stop_sequence", "five") if told else (stops["stop"], None))
            answers += 1

    return answers
