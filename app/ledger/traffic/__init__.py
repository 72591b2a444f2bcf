"""Counts of what came in and went out, by time: for charts. Hours that are over are counted once and kept."""
