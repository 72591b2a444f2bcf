"""Stripe: sessions, invoices, payment intents and charges to Sales; trials and sign-ups to Leads. Pure, no I/O.

Signing: https://docs.stripe.com/webhooks#verify-manually
Events: https://docs.stripe.com/api/events/object and https://docs.stripe.com/api/events/types
"""

from app.sources.stripe.source import SOURCE

__all__ = ["SOURCE"]
