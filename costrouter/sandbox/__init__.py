"""The sandbox upstream: a small OpenAI-compatible server with deterministic answers, a real pace and real usage.

`models.py` is the table of its models, `answers.py` what they say (pure), `app.py` the wire (ASGI). It knows nothing of
CostRouter and imports no Django: the relay meets it as it meets any other upstream.
"""
