"""THE table of what errors mean to the person who meets one. Usage Logs and the API docs read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from relay.errors import ERRORS


@dataclass(frozen=True, slots=True)
class Help:
    """An error in words: its `title`, what it `means`, and what to `do` about it. All translatable."""

    title: Any
    means: Any
    do: Any


HELP: dict[str, Help] = {
    "invalid_json": Help(
        _("The body is not JSON"),
        _("The request's body could not be read as one JSON object."),
        _("Send a JSON object with Content-Type: application/json, and check quotes and trailing commas."),
    ),
    "invalid_request": Help(
        _("The request is not valid"),
        _("A field has a value that this endpoint does not take, or the URL lacks something it needs."),
        _("Read the message: it names the field in “param”. The API docs list what each endpoint takes."),
    ),
    "missing_model": Help(
        _("No model was named"),
        _("The request does not say which model should answer."),
        _("Put the model's name into the field “model”. The Models page lists the names."),
    ),
    "unsupported_field": Help(
        _("A field cannot be passed on"),
        _("The model is reached in another API format, which has no word for this field."),
        _("Leave the field out, or choose a model of the provider whose format you are using."),
    ),
    "unpriced_model": Help(
        _("The model has no price"),
        _("The model is known here, but nobody has set what it costs, so it cannot be charged."),
        _("Choose another model, or ask the operator to set a price."),
    ),
    "unpriced_feature": Help(
        _("A feature has no price"),
        _("A field of the request changes what it costs, and that has no price for this model."),
        _("Leave the named field out, or ask the operator to price it."),
    ),
    "stored_state": Help(
        _("It refers to stored state"),
        _("The request names something kept at a provider (a file, a conversation), which is not available here."),
        _("Send the content itself in the request."),
    ),
    "unsupported_endpoint": Help(
        _("The model has no such endpoint"),
        _("No channel that serves this model can answer this kind of request."),
        _("Choose a model that the Models page shows for this endpoint."),
    ),
    "unsupported_encoding": Help(
        _("The body's encoding is not known"),
        _("The body was sent with a Content-Encoding other than gzip."),
        _("Send it plain or as gzip."),
    ),
    "invalid_api_key": Help(
        _("The API key is missing or wrong"),
        _("No key was sent, or none here matches it: it may have been deleted, rotated or cut short."),
        _("Send a whole key in the Authorization header: “Bearer sk-…”. Create a new one if the old one is lost."),
    ),
    "key_disabled": Help(
        _("The API key is disabled"),
        _("Somebody in the organization has switched this key off."),
        _("Enable it on the API keys page, or use another key."),
    ),
    "key_expired": Help(
        _("The API key has expired"),
        _("The key's expiry date has passed."),
        _("Set a later date on the API keys page, or create a new key."),
    ),
    "user_suspended": Help(
        _("The key's user is suspended"),
        _("The person whose key this is may not use this service now."),
        _("Ask the operator, or use a key of another member."),
    ),
    "organization_suspended": Help(
        _("The organization is suspended"),
        _("No key of this organization works now."),
        _("Ask the operator why, and to lift it."),
    ),
    "ip_not_allowed": Help(
        _("The address is not allowed"),
        _("The key may only be used from certain IP addresses, and this request came from another."),
        _("Add the address to the key, or send the request from one that is listed."),
    ),
    "group_not_allowed": Help(
        _("The model group is not available"),
        _("The key's model group is gone, or no longer open to this organization."),
        _("Choose another group for the key on the API keys page."),
    ),
    "model_not_allowed": Help(
        _("The key may not use this model"),
        _("The key is limited to other models, or its group does not serve this one."),
        _("Add the model to the key, or move the key to a group that has it."),
    ),
    "insufficient_balance": Help(
        _("The balance is too low"),
        _("The request could cost more than the organization has left. Nothing was sent to a provider."),
        _("Top up, or ask for less: a shorter input, or fewer output tokens (max_tokens)."),
    ),
    "budget_exceeded": Help(
        _("A spending limit is reached"),
        _("The request could cost more than the spending limit of the key, member or organization leaves."),
        _("Raise the limit, wait for its next day, week or month, or ask for less."),
    ),
    "not_found": Help(
        _("There is no such path or object"),
        _("The URL is not one of this API, or what it names does not belong to your organization."),
        _("Check the base URL and path. Most SDKs want the base URL to end in /v1."),
    ),
    "previous_response_not_found": Help(
        _("The previous response is unknown"),
        _("The turn that “previous_response_id” names was not stored here, or has been deleted since."),
        _("Send the whole conversation, and “store”: true where later turns will refer to this one."),
    ),
    "model_not_found": Help(
        _("The model is unknown"),
        _("Nobody here serves a model of this name."),
        _("Check the spelling against the Models page or GET /v1/models."),
    ),
    "method_not_allowed": Help(
        _("The method is not allowed"),
        _("The path exists, but not with this HTTP method."),
        _("Use the method that the API docs show; most endpoints take POST."),
    ),
    "upgrade_required": Help(
        _("A websocket is needed"),
        _("This endpoint speaks over a websocket only."),
        _("Connect with a websocket client, as the realtime SDKs do."),
    ),
    "body_too_large": Help(
        _("The body is too large"),
        _("The request, or the conversation it continues, is larger than this service accepts."),
        _("Send less: compress images, or shorten the conversation."),
    ),
    "client_gone": Help(
        _("The client went away"),
        _("The connection closed before the request was complete, so nothing was done."),
        _("Look for a timeout or a cancelled call in your program."),
    ),
    "refused_by_upstream": Help(
        _("The provider refused the request"),
        _("The provider found fault with the request itself: a bad value, too long a context, or its content policy."),
        _("Read the provider's message in the answer, change the request, and send it again."),
    ),
    "rate_limit_exceeded": Help(
        _("A rate limit is reached"),
        _("The key or the organization has sent more requests or tokens than it may in a minute, or too many at once."),
        _("Wait as long as Retry-After says. Official SDKs do so by themselves. Raise the key's limit if you set it."),
    ),
    "upstream_rate_limited": Help(
        _("The provider is over its limit"),
        _("Every channel of this model has reached a limit at its provider."),
        _("Try again in a moment. If it goes on, tell the operator or choose another model."),
    ),
    "internal_error": Help(
        _("Something went wrong here"),
        _("The relay itself failed. The request was not charged."),
        _("Try again. If it goes on, tell the operator the request id."),
    ),
    "upstream_error": Help(
        _("The provider failed"),
        _("No provider gave a complete answer. A failed request costs nothing."),
        _("Try again; the route below shows what was tried. If it goes on, choose another model."),
    ),
    "no_channel": Help(
        _("No channel is available"),
        _("The model is known, but none of the channels that serve it is switched on now."),
        _("Try again later, choose another model, or tell the operator."),
    ),
    "unavailable": Help(
        _("The service cannot record requests now"),
        _("The database did not answer in time, and nothing is served that could not be charged correctly."),
        _("Try again in a few seconds."),
    ),
    "shutting_down": Help(
        _("The server was restarting"),
        _("The process that served this request was stopping."),
        _("Send it again: another process answers."),
    ),
    "upstream_timeout": Help(
        _("The provider took too long"),
        _("No provider answered within the time it is given. A failed request costs nothing."),
        _("Try again, stream the answer, or ask for a shorter one."),
    ),
}

# What only records say: no answer carries these.
RECORD_HELP: dict[str, Help] = {
    "video_failed": Help(
        _("The video could not be made"),
        _("The provider accepted the request, and later gave it up. A failed video costs nothing."),
        _("Read the video's own error (GET /v1/videos/{id}), change the prompt, and try again."),
    ),
}

_STATUS_HELP: dict[str, Help] = {
    "cancelled": Help(
        _("The client went away"),
        _("It closed the connection early. Of a stream, what was delivered is charged; of other answers, all."),
        _("Look for a timeout or a cancelled call in your program."),
    ),
    "interrupted": Help(
        _("The server stopped during the request"),
        _("The process that served it ended without finishing. It costs nothing unless its charge arrives late."),
        _("Send it again."),
    ),
}


def help_for(code: str, status: str = "") -> Help | None:
    """What an error code means, else what a record's status means; None where there is nothing to explain."""
    return HELP.get(code) or RECORD_HELP.get(code) or _STATUS_HELP.get(status)


assert HELP.keys() == ERRORS.keys(), HELP.keys() ^ ERRORS.keys()
