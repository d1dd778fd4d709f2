"""One file a client dialect. Pure: bytes and numbers in, bytes and numbers out; no Django, no ORM, no HTTP client."""
