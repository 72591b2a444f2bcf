"""The ledger: the database record of all events, deliveries and persons, and the only home of SQLAlchemy."""
