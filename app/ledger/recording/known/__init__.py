"""What the ledger already knows about a group of events."""
