"""Getting started: the steps still open, and what the set-up of each source lacks."""
