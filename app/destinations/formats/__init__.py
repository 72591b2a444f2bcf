"""Formats: how each destination wants a Sale or Lead written."""
