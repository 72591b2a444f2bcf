"""Refunds of counted Sales, and their deliveries."""
