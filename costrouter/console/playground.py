"""The playground: the page talks to the relay by itself, with a key that lives for minutes."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from costrouter.console.access import ConsoleRequest, console_page
from costrouter.members import playground
from costrouter.members.offers import Offer, model_offers
from costrouter.sign_in.links import base_url
from relay.error_help import HELP


@console_page("playground.use")
@require_safe
def index(request: ConsoleRequest) -> HttpResponse:
    """The page. `?model=`: which one it begins with."""
    offers = [offer for offer in model_offers(organization_id=request.member.organization_id) if offer.chats]
    asked = request.GET.get("model", "")
    first = next((offer for offer in offers if offer.name == asked), offers[0] if offers else None)
    groups = {group.name: group for offer in offers for group in offer.groups}
    context = {
        "offers": offers,
        "groups": [groups[name] for name in sorted(groups)],
        "first": first,
        "group": _group_of(first),
        "panes": ("a", "b"),
        "data": _data(offers, base_url(request)),
    }
    return render(request, "console/playground.html", context)


@console_page("playground.use")
@require_POST
@never_cache
def make_key(request: ConsoleRequest) -> HttpResponse:
    """A key for this page, as `{"key", "group", "seconds"}`; 422 with `{"error"}` where there is none to have."""
    try:
        made = playground.make_key(member=request.member, group=request.POST.get("group", ""))
    except ValidationError as error:
        return JsonResponse({"error": " ".join(error.messages)}, status=422)
    return JsonResponse(
        {"key": made.secret, "group": made.key.group, "seconds": int(playground.KEY_LIFE.total_seconds())}
    )


def _group_of(offer: Offer | None) -> str:
    """The group to begin in: the default one where the model is in it."""
    names = [group.name for group in offer.groups] if offer is not None else []
    return "default" if "default" in names else next(iter(names), "")


def _data(offers: list[Offer], base: str) -> dict[str, Any]:
    """What the script needs to know."""
    return {
        "models": [
            {"name": offer.name, "groups": [group.name for group in offer.groups], "cap": offer.cap_field}
            for offer in offers
        ],
        "urls": {
            "key": reverse("console:playground-key"),
            "base": base,
            "chat": "/v1/chat/completions",
            "log": reverse("console:log", args=["REQUEST"]),
        },
        "errors": {code: str(help.title) for code, help in HELP.items()},
        "words": _words(),
    }


def _words() -> dict[str, str]:
    return {
        "you": _("You"),
        "hello": _("Hello"),
        "waiting": _("Waiting for the first byte…"),
        "reasoning": _("Reasoning"),
        "stopped": _("Stopped. What had been delivered by then is charged."),
        "cut": _("The answer ended early: nothing is charged for it."),
        "empty": _("The model answered without text."),
        "offline": _("The site did not answer. Check your connection and try again."),
        "signed_out": _("You are signed out. Reload the page and sign in."),
        "no_key": _("No key could be made for the playground."),
        "failed": _("The request failed"),
        "retry": _("Try again"),
        "log": _("In Usage Logs"),
        "tokens": _("{input} in · {output} out"),
        "tokens_title": _("Tokens of the question and of the answer"),
        "first_byte": _("first byte {time}"),
        "copy": _("Copy"),
        "copied": _("Copied"),
        "total": _("Spent here: {cost}"),
    }
