"""Addresses of our pages as others see them: in mails, in the docs."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def base_url(request: HttpRequest) -> str:
    """`PUBLIC_URL`, or where the request says it came to; without a slash at the end."""
    return settings.PUBLIC_URL or f"{request.scheme}://{request.get_host()}"


def absolute_url(request: HttpRequest, path: str) -> str:
    """A path of ours, such as `/console/`, as a whole address."""
    return base_url(request) + path
