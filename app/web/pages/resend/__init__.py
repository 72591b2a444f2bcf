"""Resending deliveries: one, a window, or a window to another destination."""
