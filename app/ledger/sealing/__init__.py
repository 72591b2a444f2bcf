"""Encryption at rest: bodies, payloads and answers are sealed where they are written, and unsealed where they are read."""
