"""Signing in, one's own account, and the management of named users."""
