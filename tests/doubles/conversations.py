"""Conversations that hypothesis makes up: requests, answers and streams of `relay.protocols.ir`, always valid ones.

- `Can`: what a dialect can express; `one & other` is what both can. `EVERYTHING` can all.
- `requests(can)`: an `ir.Request`, already `ir.normal`. Call ids are unique, results directly follow their calls, in
  one user message that begins with them, and carry their call's name and `custom`; the last turn is the user's.
- `answers(can)`: an `ir.Answer`.
- `streams(can)`: the events of such an answer, its texts cut into deltas.
- `events_of(answer, size)`: the events of one answer, each text cut into deltas of `size` characters.
- `answer_of(events, units)`: the answer that events tell: the inverse.

A dialect's test declares its `Can` and asserts, say, `normal(to_ir(parse(from_ir(request, target)))) == request`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

import msgspec
from hypothesis import strategies as st

from relay.protocols import ir

EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
SAMPLING = frozenset(
    {
        *("max_tokens", "choices", "temperature", "top_p", "top_k", "seed", "stop", "presence_penalty"),
        *("frequency_penalty", "logit_bias", "logprobs", "user", "metadata", "verbosity", "cache_key", "parallel"),
    }
)
UNITS = frozenset({"input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning"})
STOPS = frozenset({"stop", "length", "stop_sequence", "content_filter", "refusal", "context_window", "pause"})


@dataclass(frozen=True)
class Can:
    """What a dialect can express. Every field is a truth or a set, so that two abilities meet by `&`.

    Of a request: `images`, `files`: {"url", "data"}; `file_names`; `audio`; `details`: of images; `names`: of messages;
    `system_anywhere`: else only first; `several_systems`: else one message of one text;
    `several_texts`: of one user message, else at most one; `custom`: free-form tools;
    `strict`, `schemaless` (a tool without a schema); `named`: {"one", "many"} tools that a choice may name;
    `results`: {"image", "image_url", "file", "error", "many"} that a tool's result may hold beside one text;
    `output`: {"object", "schema", "name", "strict", "description"}; `efforts`; `budgets`; `show`;
    `cache`: marks, {"5m", "1h"};
    `sampling`: the names of request fields.

    Of turns and answers: `reasoning`: origins that come back in a request; `made`: origins in an answer; `signatures`,
    `redacted`, `reasoning_ids`; `refusals`; `interleaved`: parts in any order and number, else reasoning, one text, one
    refusal, calls; `stops`; `sequences`: which stop sequence was met; `logprobs`: in an answer; `choices`: several
    answers; `units`.
    """

    images: frozenset[str] = frozenset({"url", "data"})
    details: frozenset[str] = frozenset({"low", "high", "auto"})
    files: frozenset[str] = frozenset({"url", "data"})
    file_names: bool = True
    audio: bool = True
    names: bool = True
    system_anywhere: bool = True
    several_systems: bool = True
    several_texts: bool = True
    custom: bool = True
    strict: bool = True
    schemaless: bool = True
    named: frozenset[str] = frozenset({"one", "many"})
    results: frozenset[str] = frozenset({"image", "image_url", "file", "error", "many"})
    output: frozenset[str] = frozenset({"object", "schema", "name", "strict", "description"})
    efforts: frozenset[str] = EFFORTS
    budgets: bool = True
    show: bool = True
    cache: frozenset[str] = frozenset({"5m", "1h"})
    sampling: frozenset[str] = SAMPLING
    reasoning: frozenset[str] = frozenset({"chat", "responses", "anthropic", "gemini"})
    made: frozenset[str] = frozenset({"chat", "responses", "anthropic", "gemini"})
    signatures: bool = True
    redacted: bool = True
    reasoning_ids: bool = True
    refusals: bool = True
    interleaved: bool = True
    stops: frozenset[str] = STOPS
    sequences: bool = True
    logprobs: bool = True
    choices: bool = True
    units: frozenset[str] = UNITS

    def __and__(self, other: Can) -> Can:
        return Can(**{f.name: getattr(self, f.name) & getattr(other, f.name) for f in fields(self)})


EVERYTHING = Can()

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
NAMES = st.sampled_from(["get_weather", "lookup", "f-1", "search_the_web"])
DATA = st.sampled_from(["aGVsbG8=", "iVBORw0KGgo=", "AAECAw=="])
URLS = st.sampled_from(["https://example.com/a.png", "https://example.com/b.jpg?x=1&y=%20"])
SCHEMAS = st.sampled_from(
    [
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        {
            "type": "object",
            "properties": {"rows": {"type": "array", "items": {"type": "integer"}}, "kind": {"enum": ["a", "b"]}},
            "required": ["rows", "kind"],
            "additionalProperties": False,
        },
    ]
)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["city", "rows", "é"]),
    st.one_of(TEXTS, st.integers(-9, 9), st.booleans(), st.lists(TEXTS, max_size=2)),
    max_size=3,
).map(lambda value: msgspec.json.encode(value).decode())


def maybe(strategy: st.SearchStrategy, allowed: object = True) -> st.SearchStrategy:
    """Nothing, or something where it is allowed."""
    return st.none() | strategy if allowed else st.none()


def one_of(values: frozenset[str]) -> st.SearchStrategy:
    """Nothing, or one of a set."""
    return maybe(st.sampled_from(sorted(values)), values) if values else st.none()


def images(can: Can) -> st.SearchStrategy[ir.Image]:
    details, cache = one_of(can.details), one_of(can.cache)
    kinds = []
    if "url" in can.images:
        kinds.append(st.builds(ir.Image, url=URLS, detail=details, cache=cache))
    if "data" in can.images:
        types = st.sampled_from(["image/png", "image/jpeg"])
        kinds.append(st.builds(ir.Image, data=DATA, media_type=types, detail=details, cache=cache))
    return st.one_of(kinds)


def files(can: Can) -> st.SearchStrategy[ir.File]:
    names, cache = maybe(st.just("report.pdf"), can.file_names), one_of(can.cache)
    kinds = []
    if "url" in can.files:
        kinds.append(st.builds(ir.File, url=st.just("https://example.com/report.pdf"), name=names, cache=cache))
    if "data" in can.files:
        pdf = st.just("application/pdf")
        kinds.append(st.builds(ir.File, data=DATA, media_type=pdf, name=names, cache=cache))
    return st.one_of(kinds)


def texts(can: Can) -> st.SearchStrategy[ir.Text]:
    return st.builds(ir.Text, TEXTS, cache=one_of(can.cache))


def user_parts(can: Can) -> st.SearchStrategy[ir.Part]:
    kinds = [texts(can)]
    if can.images:
        kinds.append(images(can))
    if can.files:
        kinds.append(files(can))
    if can.audio:
        kinds.append(st.builds(ir.Audio, DATA, st.sampled_from(["wav", "mp3"])))
    return st.one_of(kinds)


@st.composite
def turns(draw: st.DrawFn, can: Can) -> list[ir.Part]:
    """What a user says."""
    parts: list[ir.Part] = []
    for part in draw(st.lists(user_parts(can), min_size=1, max_size=2)):
        if can.several_texts or not isinstance(part, ir.Text) or not any(isinstance(p, ir.Text) for p in parts):
            parts.append(part)
    return parts


def reasonings(can: Can, origins: frozenset[str]) -> st.SearchStrategy[ir.Reasoning]:
    """What a model thought: in the open, signed, or encrypted."""
    origin = st.sampled_from(sorted(origins))
    ids = maybe(st.sampled_from(["rs_1", "rs_2"]), can.reasoning_ids)
    kinds = [st.builds(ir.Reasoning, TEXTS, origin)]
    if can.signatures:
        kinds.append(st.builds(ir.Reasoning, TEXTS, origin, signature=DATA, id=ids))
    if can.redacted:
        kinds.append(st.builds(ir.Reasoning, st.just(""), origin, redacted=DATA, id=ids))
    return st.one_of(kinds)


@st.composite
def made_parts(
    draw: st.DrawFn, can: Can, tools: list[ir.Tool], ids: list[str], origins: frozenset[str]
) -> list[ir.Part]:
    """The parts of a model's turn; the ids of its calls are taken from `ids`."""
    parts: list[ir.Part] = []
    for _ in range(draw(st.integers(1, 2)) if can.interleaved else 1):
        if origins and draw(st.booleans()):
            parts.append(draw(reasonings(can, origins)))
        if draw(st.booleans()):
            parts.append(ir.Text(draw(TEXTS)))
        if can.refusals and not tools and draw(st.integers(0, 9)) == 0:
            parts.append(ir.Refusal(draw(TEXTS)))
        for _ in range(draw(st.integers(0, 2)) if tools else 0):
            tool = draw(st.sampled_from(tools))
            arguments = draw(TEXTS if tool.custom else ARGUMENTS)
            parts.append(ir.ToolCall(ids.pop(0), tool.name, arguments, tool.custom))
    # Reasoning alone is no turn.
    return parts if any(not isinstance(part, ir.Reasoning) for part in parts) else [*parts, ir.Text(draw(TEXTS))]


@st.composite
def result_of(draw: st.DrawFn, can: Can, call: ir.ToolCall) -> ir.ToolResult:
    """What a tool answered."""
    plain = Can(details=frozenset(), cache=frozenset(), images=frozenset({"data"}))
    kinds = [st.builds(ir.Text, TEXTS)]
    if "image" in can.results:
        kinds.append(images(plain))
    if "image_url" in can.results:
        kinds.append(st.builds(ir.Image, url=URLS))
    if "file" in can.results:
        kinds.append(st.builds(ir.File, data=DATA, media_type=st.just("application/pdf")))
    parts = draw(st.lists(st.one_of(kinds), min_size=1, max_size=2 if "many" in can.results else 1))
    error = "error" in can.results and draw(st.booleans())
    return ir.ToolResult(call.id, parts, call.name, error, call.custom, draw(one_of(can.cache)))


@st.composite
def tool_lists(draw: st.DrawFn, can: Can) -> list[ir.Tool]:
    found = []
    for name in draw(st.lists(NAMES, max_size=2, unique=True)):
        description, cache = draw(maybe(TEXTS)), draw(one_of(can.cache))
        if can.custom and draw(st.integers(0, 3)) == 0:
            grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a+/"}
            form = draw(st.sampled_from([None, {"type": "text"}, grammar]))
            found.append(ir.Tool(name, description, custom=True, format=form, cache=cache))
        else:
            schema = draw(st.none() | SCHEMAS if can.schemaless else SCHEMAS)
            found.append(ir.Tool(name, description, schema, draw(maybe(st.booleans(), can.strict)), cache=cache))
    return found


@st.composite
def choices_of_tools(draw: st.DrawFn, can: Can, tools: list[ir.Tool]) -> ir.ToolChoice | None:
    names = [tool.name for tool in tools]
    kinds: list[ir.ToolChoice | None] = [None]
    if tools:
        kinds += [ir.ToolChoice("auto"), ir.ToolChoice("none"), ir.ToolChoice("required")]
        if "one" in can.named:
            kinds.append(ir.ToolChoice("named", names[:1]))
        if "many" in can.named and len(names) > 1:
            kinds.append(ir.ToolChoice("named", names))
    return draw(st.sampled_from(kinds))


@st.composite
def outputs(draw: st.DrawFn, can: Can) -> ir.OutputFormat | None:
    if not can.output or draw(st.booleans()):
        return None
    if "object" in can.output and ("schema" not in can.output or draw(st.booleans())):
        return ir.OutputFormat()
    return ir.OutputFormat(
        draw(SCHEMAS),
        "result" if "name" in can.output else None,
        draw(maybe(st.booleans(), "strict" in can.output)),
        draw(maybe(TEXTS, "description" in can.output)),
    )


@st.composite
def thoughts(draw: st.DrawFn, can: Can) -> ir.Thinking | None:
    kinds = [st.none()]
    if can.efforts:
        kinds.append(
            st.builds(ir.Thinking, effort=st.sampled_from(sorted(can.efforts)), show=maybe(st.booleans(), can.show))
        )
    if can.budgets:
        kinds.append(
            st.builds(ir.Thinking, budget=st.sampled_from([1_024, 8_000]), show=maybe(st.booleans(), can.show))
        )
    return draw(st.one_of(kinds))


_LEVELS = st.sampled_from([0.0, 0.25, 1.0])
_SAMPLING: dict[str, st.SearchStrategy] = {
    "max_tokens": st.integers(1, 9_000),
    "choices": st.integers(1, 3),
    "temperature": _LEVELS,
    "top_p": _LEVELS,
    "top_k": st.integers(1, 50),
    "seed": st.integers(0, 2**31 - 1),
    "stop": st.lists(TEXTS, min_size=1, max_size=3),
    "presence_penalty": _LEVELS,
    "frequency_penalty": _LEVELS,
    "logit_bias": st.dictionaries(st.sampled_from(["11", "50256"]), st.sampled_from([-100.0, 1.5]), min_size=1),
    "logprobs": st.integers(0, 5),
    "user": st.just("user-1"),
    "metadata": st.dictionaries(st.just("trace"), TEXTS, min_size=1),
    "verbosity": st.sampled_from(["low", "medium", "high"]),
    "cache_key": st.just("key-1"),
}


@st.composite
def sampling(draw: st.DrawFn, can: Can) -> dict[str, object]:
    known = sorted(name for name in can.sampling if name in _SAMPLING)
    chosen = draw(st.lists(st.sampled_from(known), unique=True, max_size=4)) if known else []
    return {name: draw(_SAMPLING[name]) for name in chosen}


@st.composite
def requests(draw: st.DrawFn, can: Can = EVERYTHING, *, model: str = "m") -> ir.Request:
    """A request: perhaps a system prompt, up to three exchanges, and what the user says now."""
    tools = draw(tool_lists(can))
    ids = [f"call_{number}" for number in range(99)]
    messages: list[ir.Message] = []
    name = maybe(st.just("alice"), can.names)
    system = st.builds(ir.Text, TEXTS, cache=one_of(can.cache))
    prompts = st.lists(system, min_size=1, max_size=2 if can.several_systems else 1)
    if draw(st.booleans()):
        messages.append(ir.Message("system", draw(prompts)))
    for _ in range(draw(st.integers(0, 3))):
        if not messages or messages[-1].role != "user":
            messages.append(ir.Message("user", draw(turns(can)), draw(name)))
        parts = draw(made_parts(can, tools, ids, can.reasoning))
        messages.append(ir.Message("assistant", parts))
        calls = [part for part in parts if isinstance(part, ir.ToolCall)]
        if calls:
            results: list[ir.Part] = [draw(result_of(can, call)) for call in calls]
            results += draw(st.lists(user_parts(can), max_size=1))
            messages.append(ir.Message("user", results))
        elif can.system_anywhere and draw(st.integers(0, 4)) == 0:
            messages.append(ir.Message("system", draw(prompts)))
    if not messages or messages[-1].role != "user":
        messages.append(ir.Message("user", draw(turns(can)), draw(name)))
    return ir.Request(
        model,
        messages,
        draw(st.booleans()),
        tools,
        draw(choices_of_tools(can, tools)),
        draw(maybe(st.booleans(), tools and "parallel" in can.sampling)),
        draw(outputs(can)),
        draw(thoughts(can)),
        **draw(sampling(can)),
    )


LOGPROBS = st.lists(
    st.builds(ir.Logprob, TEXTS, st.just(-0.5), st.lists(st.builds(ir.Logprob, TEXTS, st.just(-1.0)), max_size=2)),
    min_size=1,
    max_size=2,
)


@st.composite
def usages(draw: st.DrawFn, can: Can) -> dict[str, int]:
    """Units of a conversation: `reasoning` is a part of `output`."""
    units = {name: draw(st.integers(0, 50)) for name in sorted(can.units - {"reasoning"})}
    units["input"] = units.get("input", 0) + 1
    if "reasoning" in can.units:
        units["reasoning"] = draw(st.integers(0, units["output"]))
    return {name: quantity for name, quantity in units.items() if quantity}


@st.composite
def answers(draw: st.DrawFn, can: Can = EVERYTHING, *, model: str = "m") -> ir.Answer:
    """A whole answer, with its usage."""
    tools = draw(st.sampled_from([[], [ir.Tool("get_weather"), ir.Tool("shell", custom=can.custom)]]))
    ids = [f"call_{number}" for number in range(99)]
    choices = []
    for _ in range(draw(st.integers(1, 2)) if can.choices else 1):
        parts = draw(made_parts(can, tools, ids, can.made))
        if any(isinstance(part, ir.ToolCall) for part in parts):
            choice = ir.Choice(parts, "tool_calls")
        else:
            choice = ir.Choice(parts, draw(st.sampled_from(sorted(can.stops))))
        if choice.stop == "stop_sequence" and can.sequences:
            choice.stop_sequence = draw(TEXTS)
        if can.logprobs and any(isinstance(part, ir.Text) for part in parts):
            choice.logprobs = draw(maybe(LOGPROBS))
        choices.append(choice)
    return ir.Answer("answer-1", model, 1_700_000_000, choices, draw(usages(can)))


def events_of(answer: ir.Answer, size: int = 3) -> list[ir.Event]:
    """The events of an answer, choice by choice. A choice's log probabilities come with its last text."""
    events: list[ir.Event] = [ir.Start(answer.id, answer.model, answer.created)]
    for number, choice in enumerate(answer.choices):
        said = [index for index, part in enumerate(choice.parts) if isinstance(part, ir.Text)]
        for index, part in enumerate(choice.parts):
            events += _part_events(part, index, number, size)
            if choice.logprobs and said and index == said[-1]:
                events.insert(len(events) - 1, ir.Probabilities(index, choice.logprobs, number))
        events.append(ir.Stop(choice.stop, choice.stop_sequence, number))
    return events


def _part_events(part: ir.Part, index: int, choice: int, size: int) -> list[ir.Event]:
    if isinstance(part, ir.ToolCall):
        begun, text = ir.ToolCall(part.id, part.name, custom=part.custom), part.arguments
    elif isinstance(part, ir.Reasoning):
        begun, text = ir.Reasoning(origin=part.origin, id=part.id), part.text
    else:
        begun, text = type(part)(""), part.text
    events: list[ir.Event] = [ir.PartStart(index, begun, choice)]
    events += [ir.Delta(index, text[at : at + size], choice) for at in range(0, len(text), size)]
    if isinstance(part, ir.Reasoning) and (part.signature or part.redacted):
        events.append(ir.Sealed(index, part.signature, part.redacted, choice))
    return [*events, ir.PartEnd(index, choice)]


def streams(can: Can = EVERYTHING) -> st.SearchStrategy[list[ir.Event]]:
    """A streamed answer."""
    return st.builds(events_of, answers(can), st.integers(1, 5))


def answer_of(events: list[ir.Event], units: dict[str, int] | None = None) -> ir.Answer:
    """The answer that events tell. Asserts that they are in order: parts begin, grow, end, one after the other."""
    start, *rest = events
    assert isinstance(start, ir.Start)
    answer = ir.Answer(start.id, start.model, start.created, [], units)
    open_parts: dict[int, int] = {}
    stopped: set[int] = set()
    for event in rest:
        assert not isinstance(event, ir.Start)
        assert event.choice not in stopped
        while len(answer.choices) <= event.choice:
            answer.choices.append(ir.Choice([]))
        choice = answer.choices[event.choice]
        if isinstance(event, ir.Stop):
            assert event.choice not in open_parts
            choice.stop, choice.stop_sequence = event.reason, event.sequence
            stopped.add(event.choice)
        elif isinstance(event, ir.PartStart):
            assert event.choice not in open_parts and event.index == len(choice.parts)
            open_parts[event.choice] = event.index
            choice.parts.append(msgspec.structs.replace(event.part))
        else:
            assert open_parts[event.choice] == event.index
            _grow(choice, event)
            if isinstance(event, ir.PartEnd):
                del open_parts[event.choice]
    assert stopped == set(range(len(answer.choices)))
    return answer


def _grow(choice: ir.Choice, event: ir.Event) -> None:
    part = choice.parts[-1]
    if isinstance(event, ir.Delta) and isinstance(part, ir.ToolCall):
        part.arguments += event.text
    elif isinstance(event, ir.Delta):
        part.text += event.text
    elif isinstance(event, ir.Sealed):
        assert isinstance(part, ir.Reasoning)
        part.signature, part.redacted = event.signature or part.signature, event.redacted or part.redacted
    elif isinstance(event, ir.Probabilities):
        assert isinstance(part, ir.Text)
        choice.logprobs = [*(choice.logprobs or []), *event.tokens]


def compact(arguments: str) -> str:
    """JSON text as converters write it."""
    return msgspec.json.encode(json.loads(arguments)).decode()
