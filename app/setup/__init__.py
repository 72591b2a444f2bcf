"""Getting started: what is still to be set up, and what each source's set-up lacks."""
