"""What people and retention do to the ledger: replay, edit, forget, prune."""
