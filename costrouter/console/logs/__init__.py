"""Usage Logs."""
