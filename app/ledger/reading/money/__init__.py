"""What became of the money of Sales."""
