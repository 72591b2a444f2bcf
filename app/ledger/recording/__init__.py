"""Recording: turns mapped events into rows, in one transaction."""
