"""What the addresses of other servers mean."""
