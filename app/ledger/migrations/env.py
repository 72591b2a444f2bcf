"""Alembic's entry: always on the connection that app.ledger.schema hands over, in its transaction."""

from alembic import context

from app.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
