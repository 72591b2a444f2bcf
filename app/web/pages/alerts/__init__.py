"""Incidents that alerts reported."""
