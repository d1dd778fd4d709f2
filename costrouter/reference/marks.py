"""What stands in a text for what differs from reader to reader. `snippets.filled` puts the reader's own there."""

from __future__ import annotations

# The site's address. Not a host name that exists, and nothing that a shell, JSON or HTML would change.
BASE = "https://base-url.invalid"
# The same as a websocket's.
SOCKET = "wss://base-url.invalid"
KEY = "sk-xxxx"
# Around the name of a model that the reader may replace: an invisible separator, so that a forgotten one shows nothing.
MODEL_MARK = "\u2063"
