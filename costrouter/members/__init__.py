"""What members do that crosses apps: keys with their limits, offers, the playground. Pages and API call it."""
