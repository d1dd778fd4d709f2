"""Embeddings: OpenAI's, Gemini's, and each onto the other's upstreams."""
