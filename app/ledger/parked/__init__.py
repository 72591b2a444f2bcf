"""Parked events as work: what is parked, values filled in by hand, and events that were dismissed."""
