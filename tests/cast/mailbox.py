"""What was mailed in a test."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.core import mail


def letters() -> list[tuple[str, str]]:
    """(to, subject) of every mail, the first first."""
    return [(letter.to[0], letter.subject) for letter in mail.outbox]


def code() -> str:
    """The code in the last mail."""
    [found] = re.findall(r"^ {4}([A-Z]{4}-[A-Z]{4})$", last(), re.MULTILINE)
    return found


def link(text: str) -> str:
    """The address in the last mail that contains `text`."""
    [found] = [word for word in last().split() if word.startswith("http") and text in word]
    return found


def path(text: str) -> str:
    """The same without scheme and host."""
    return urlsplit(link(text)).path


def last() -> str:
    """The last mail's text."""
    return str(mail.outbox[-1].body)
