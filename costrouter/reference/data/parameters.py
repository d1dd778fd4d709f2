"""What several endpoints share: parameters, fields and notes."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from costrouter.reference.shapes import Param, need

MODEL = need(
    "model", "string", _("Model ID. CostRouter selects an available channel by it; GET /v1/models lists yours.")
)
STREAM = Param("stream", "boolean", _("Send the answer as server-sent events while it is made."))
INCLUDE_USAGE = Param(
    "stream_options.include_usage",
    "boolean",
    _("End the stream with a chunk that has the usage and its cost."),
)
TEMPERATURE = Param("temperature", "number", _("Sampling temperature. Higher values make the output more random."))
TOP_P = Param("top_p", "number", _("Nucleus sampling: only the likeliest tokens up to this share are considered."))
SERVICE_TIER = Param(
    "service_tier",
    "string",
    _("Another tier than the standard one, such as flex or priority. It must have a price here."),
)
PROMPT_CACHE_KEY = Param("prompt_cache_key", "string", _("Requests with the same key are likelier to meet a cache."))
SAFETY = Param("safety_identifier", "string", _("A stable, anonymous name of your end user, for the provider."))
USER = Param("user", "string", _("A name of your end user, for the provider."))

ID = Param("id", "string", _("The answer's ID, as the upstream gave it."))
OBJECT = Param("object", "string", _("The kind of object."))
CREATED = Param("created", "integer", _("When it was made, in seconds since 1970."))
MODEL_FIELD = Param("model", "string", _("The model that answered, as the upstream calls it."))
COST = Param("usage.cost", "number", _("What the request cost, in USD. CostRouter adds it."))

ANSWER_HEADERS = _("A whole answer says its cost in the header x-costrouter-cost too.")
CAPPED = _(
    "Where the balance covers less than the longest answer, the output is capped, and x-costrouter-max-output says at "
    "how many tokens."
)
CONVERTED = _(
    "Any chat model works here, whichever API its upstream speaks. What that API cannot express is refused with 400, "
    "naming the field."
)
STORED = _("IDs of state at the provider (files, conversations, containers, vector stores) are refused: send the data.")
