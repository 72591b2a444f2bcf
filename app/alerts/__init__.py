"""Alerts: a thread that watches for incidents, their wording, and the channels that deliver them."""
