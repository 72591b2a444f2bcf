"""What forms have in common: bodies that are names and values, what their labels mean, and what they say of a person."""
