"""Bedrock's Converse: a dialect of upstreams alone."""
