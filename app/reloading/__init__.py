"""Reloading the configuration of running processes: whole, or not at all."""
