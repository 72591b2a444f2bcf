"""Tries a body or a mapping: what it would become, which field gave each value, and what a changed mapping would change.

Nothing is recorded and nothing is sent.
"""
