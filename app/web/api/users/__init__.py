"""Named users in the API."""
