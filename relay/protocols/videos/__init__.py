"""Videos: OpenAI's dialect, and MiniMax's beside it."""
