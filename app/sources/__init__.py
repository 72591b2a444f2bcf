"""Everybody who sends to us, by name."""
