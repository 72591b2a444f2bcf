"""Stripe's own API: setting up the endpoint, fetching what was missed, comparing, looking people up. All of its I/O is here;
what a body means is app/sources/stripe's business.

The stripe library is large (20 MB, 0.1 s), so it is loaded where the first request is made, never at import.
"""
