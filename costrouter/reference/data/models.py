"""Lists of models, and the realtime websocket."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from costrouter.reference.marks import KEY, SOCKET
from costrouter.reference.shapes import Call, Doc, Param, need

_EXAMPLE = {
    "id": "gpt-4o",
    "object": "model",
    "created": 1715367049,
    "owned_by": "openai",
    "name": "GPT-4o",
    "context_length": 128000,
    "max_output_tokens": 16384,
    "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
    "pricing": {"prompt": "0.0000025", "completion": "0.00001", "input_cache_read": "0.00000125"},
}
_GEMINI = {
    "name": "models/gemini-2.5-flash",
    "version": "1",
    "displayName": "Gemini 2.5 Flash",
    "inputTokenLimit": 1048576,
    "outputTokenLimit": 65535,
    "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
}


def _fields(where: str) -> tuple[Param, ...]:
    return (
        Param(where + "id", "string", _("The name to send as model.")),
        Param(where + "owned_by", "string", _("Who made it.")),
        Param(where + "created", "integer", _("When it came out, in seconds since 1970.")),
        Param(where + "context_length", "integer | null", _("Tokens of input and output that it has room for.")),
        Param(where + "max_output_tokens", "integer | null", _("Tokens that one answer may have.")),
        Param(where + "architecture", "object", _("What it reads and what it makes.")),
        Param(where + "pricing", "object", _("USD for one token, image, second, …, at your group's rate.")),
    )


_SHAPES = _(
    "The shape follows the client: a request with anthropic-version is answered in Anthropic's, one with "
    "x-goog-api-key in Gemini's."
)

LIST = Doc(
    "models.list",
    _("List Models"),
    _("Lists the models that your key may use, with sizes and prices."),
    "OpenAI, Anthropic, Google",
    (
        Param("limit", "integer", _("Anthropic's clients: models on a page, at most 1,000."), place="query"),
        Param("after_id", "string", _("Anthropic's clients: those after this model."), place="query"),
        Param("before_id", "string", _("Anthropic's clients: those before this model."), place="query"),
    ),
    (
        Param("object", "string", _("Always list.")),
        Param("data", "array<object>", _("The models.")),
        *_fields("data[]."),
    ),
    {"object": "list", "data": [_EXAMPLE]},
    Call("client.models.list", {}, ("for model in response:", "    print(model.id)")),
    Call("client.models.list", {}, ("for await (const model of response) console.log(model.id);",)),
    notes=(_SHAPES,),
)

GET = Doc(
    "models.get",
    _("Get Model"),
    _("Shows one model that your key may use."),
    "OpenAI, Anthropic, Google",
    (need("model", "string", _("Model ID."), place="path"),),
    _fields(""),
    _EXAMPLE,
    Call("client.models.retrieve", {"": "gpt-4o"}, ("print(response.id, response.owned_by)",)),
    Call("client.models.retrieve", {"": "gpt-4o"}, ("console.log(response.id, response.owned_by);",)),
    models=("gpt-4o",),
    path={"model": "gpt-4o"},
    notes=(_SHAPES,),
)

GEMINI = Doc(
    "gemini.models",
    _("List Gemini Models"),
    _("Lists the models that your key may use in Gemini's format; all of them answer Gemini's clients."),
    "Google",
    (
        Param("pageSize", "integer", _("Models on a page: 50, at most 1,000."), place="query"),
        Param("pageToken", "string", _("nextPageToken of the page before."), place="query"),
    ),
    (
        Param("models", "array<object>", _("The models.")),
        Param("models[].name", "string", _("models/ and the model's ID.")),
        Param("models[].displayName", "string", _("Its name for people.")),
        Param("models[].inputTokenLimit", "integer", _("Tokens that it can read.")),
        Param("models[].outputTokenLimit", "integer", _("Tokens that one answer may have.")),
        Param("models[].supportedGenerationMethods", "array<string>", _("What may be asked of it.")),
        Param("nextPageToken", "string", _("For the next page, where there is one.")),
    ),
    {"models": [_GEMINI]},
    Call("client.models.list", {}, ("for model in response:", "    print(model.name)")),
    Call("client.models.list", {}, ("for await (const model of response) console.log(model.name);",)),
    sdk="google",
)

REALTIME = Doc(
    "realtime",
    _("Open Realtime Session"),
    _("Opens a websocket to speak with a model: audio and text, both ways, at once."),
    "OpenAI",
    (need("model", "string", _("Model ID. It cannot change later."), place="query"),),
    (
        Param("type", "string", _("Of each event: session.created, response.output_audio.delta, response.done, ….")),
        Param("event_id", "string", _("The event's ID.")),
        Param("response.usage", "object", _("Of response.done: the tokens of the response.")),
    ),
    {
        "type": "session.created",
        "event_id": "event_7a21",
        "session": {"type": "realtime", "id": "sess_9b04", "object": "realtime.session", "model": "gpt-realtime"},
    },
    Call(
        lines=(
            "with client.realtime.connect(model=MODEL) as connection:",
            '    connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})',
            "    connection.conversation.item.create(",
            '        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}',
            "    )",
            "    connection.response.create()",
            "    for event in connection:",
            '        if event.type == "response.output_text.delta":',
            '            print(event.delta, end="", flush=True)',
            '        elif event.type in ("response.done", "error"):',
            "            break",
        )
    ),
    Call(
        imports=('import WebSocket from "ws";',),
        lines=(
            f'const socket = new WebSocket("{SOCKET}/v1/realtime?model=gpt-realtime", {{',
            f'  headers: {{ Authorization: "Bearer {KEY}" }},',
            "});",
            "const send = (event) => socket.send(JSON.stringify(event));",
            'socket.on("open", () => {',
            '  send({ type: "session.update", session: { type: "realtime", output_modalities: ["text"] } });',
            '  const content = [{ type: "input_text", text: "Hello" }];',
            '  send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });',
            '  send({ type: "response.create" });',
            "});",
            'socket.on("message", (data) => {',
            "  const event = JSON.parse(data);",
            '  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);',
            '  if (event.type === "response.done" || event.type === "error") socket.close();',
            "});",
        ),
        with_client=False,
    ),
    models=("gpt-realtime", "gpt-realtime-mini", "gpt-realtime-2"),
    query={"model": "gpt-realtime"},
    notes=(
        _(
            "A browser, which cannot send headers, offers the key as a subprotocol: realtime, "
            "openai-insecure-api-key.sk-xxxx."
        ),
        _("Each response is held for before it begins and charged when it is over; a refusal ends the session."),
        _("Transcription of your audio, prompts stored at the provider, and tools other than functions are refused."),
        _("curl can only show that the session opens. Python's client needs openai[realtime] installed."),
    ),
)

DOCS = (LIST, GET, GEMINI, REALTIME)
