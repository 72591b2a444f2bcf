"""Recording: from a mapped event to rows, in one transaction."""
