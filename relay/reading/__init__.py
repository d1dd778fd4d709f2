"""What costs nothing: models, an account, a count of tokens."""
