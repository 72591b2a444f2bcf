"""What a process reports about itself: counts, traces and its build."""
