"""Reads for pages, the API and the command line."""
