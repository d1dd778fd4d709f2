"""OpenAI's Chat Completions, and the Completions before them."""
