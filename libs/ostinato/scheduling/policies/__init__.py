"""Triggering policies: pure functions from what waits and what is free to what starts."""
