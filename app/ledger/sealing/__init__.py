"""Encryption at rest: bodies, payloads and answers are sealed when written and unsealed when read."""
