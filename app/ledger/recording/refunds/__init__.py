"""Refunds: what went back of counted Sales, and what is sent of it."""
