"""Intake: verify a webhook, map it, and hand it to the ledger."""
