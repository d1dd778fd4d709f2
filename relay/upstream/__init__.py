"""The way out: connections to upstreams, what of their credentials stays secret, and what each provider asks for."""
