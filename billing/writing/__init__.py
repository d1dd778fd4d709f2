"""The one thread of a web process that writes holds and captures."""
