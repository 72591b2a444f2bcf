"""Requests that were refused, and those in quarantine."""
