"""Parked events as work: what each lacks, filling it in by hand, and reprocessing what was chosen."""
