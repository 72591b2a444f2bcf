"""Counts of events and deliveries by time, for charts. Past hours are counted once and kept."""
