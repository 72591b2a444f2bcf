"""Changes to the ledger by people and by retention: replay, edit, forget, prune."""
