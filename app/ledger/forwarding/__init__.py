"""Forwarding: claims, outcomes, the breaker and the sweep."""
