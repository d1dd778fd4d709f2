"""The realtime websocket: a session, each response of which is held for and charged alone."""
