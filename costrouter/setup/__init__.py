"""A first start, prices from published data, and a made-up past to measure with."""
