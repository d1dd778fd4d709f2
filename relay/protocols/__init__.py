"""One file a client dialect. Pure: bytes and numbers in, bytes and numbers out; no Django, no ORM, no HTTP client.

Adding a dialect is its file here, a row in `DIALECTS`, and the endpoints that speak it in `relay.endpoints`.
"""

from __future__ import annotations

from relay.protocols import openai_chat, openai_chat_answer
from relay.protocols.base import Dialect

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "chat",
            openai_chat.parse,
            openai_chat.upstream_body,
            openai_chat_answer.read_answer,
            openai_chat_answer.StreamReader,
        ),
    )
}
