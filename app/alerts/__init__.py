"""Alerts: a thread that watches for incidents, their wording, and the webhook they are posted to."""
