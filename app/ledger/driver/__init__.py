"""PostgreSQL's driver: sessions, and statements that share a round trip."""
