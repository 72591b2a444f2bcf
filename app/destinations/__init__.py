"""Destinations: the HTTP client that sends, and the formats that render what it sends."""
