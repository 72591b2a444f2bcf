"""Reads for the Overview and for health: counts, backlog and problems."""
