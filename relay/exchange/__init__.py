"""A request served by an upstream: read, priced, held for, forwarded, captured and answered."""
