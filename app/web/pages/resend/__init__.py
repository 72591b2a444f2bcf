"""Sending again what was delivered: one, a window, or to another destination."""
