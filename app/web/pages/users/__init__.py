"""Signing in, the user's own account, and the management of named users."""
