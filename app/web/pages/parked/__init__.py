"""Parked events as a work list."""
