"""What the lists of the dashboard share: their filters."""
