"""What operators do with a whole ledger: take a schema step back, back it up, restore it, move it to another database."""
