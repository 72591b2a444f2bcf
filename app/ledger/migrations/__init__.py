"""Schema migrations of the ledger, one file each in versions/, applied in order by `bridge db upgrade` and `bridge up`.

To change the schema
1. Change the table in app/ledger/tables/.
2. Add versions/NNNN_what_it_does.py with the next free number (two files with one number fail a test):

       \"\"\"One sentence: what is added, and why.\"\"\"

       import sqlalchemy as sa
       from alembic import op

       revision = "0012"
       down_revision = "0011"
       oldest_code = "0001"


       def upgrade() -> None:
           op.add_column("workers", sa.Column("gone_at", sa.BigInteger(), nullable=True))

   upgrade() runs in one transaction, on SQLite and PostgreSQL alike. Its statements have no time limit. A lock that is not granted
   within two seconds gives way, so that webhooks are not kept waiting behind it, and the migration is tried again for five minutes.
3. An index on a table that may be large is built before upgrade(), outside a transaction, so that nothing waits for it:

       from app.ledger.migrations.online import build_index

       def prepare(connection: sa.Connection) -> None:
           build_index(connection, "ix_workers_gone", "workers (gone_at)")

   prepare() runs again if it was interrupted, so it must be repeatable. It cannot use a column that the same file adds: use two
   files.
4. Write nothing else: the newest revision is read from the file names, and tests compare the migrated tables with tables/.

The version before keeps running while the schema is upgraded, and may be started again after it. So a migration only adds: tables,
nullable columns, columns with a server default, indexes. Code of a revision accepts a newer ledger as long as every column that it
needs is there. `oldest_code` is the oldest revision whose code can run beside this one; "0001" for everything that only adds.
What must be removed is removed one release later, by a migration with a higher `oldest_code`: older code then refuses the ledger.
Released files are never edited: ledgers made by each are kept in tests/ledger/released.
"""
