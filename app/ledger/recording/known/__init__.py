"""What the ledger already knows that concerns a group of events."""
