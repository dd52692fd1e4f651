"""Alembic's entry: runs on the connection that ``posthorn.ledger.store.engine`` hands over, inside its transaction."""

from alembic import context

from posthorn.ledger.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
