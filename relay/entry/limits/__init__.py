"""Rate limits: who is admitted, and where the counts are kept."""
