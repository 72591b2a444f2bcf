"""Requests that were refused: their counts, what was wrong with the last ones, and the quarantine."""
