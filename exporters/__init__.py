"""Graph → engine files, their check, their latency."""
