"""Alembic's entry: runs the revisions on the connection that migrate.migrate() hands over, never on its own."""

from alembic import context

from payments.storage.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True
)
context.run_migrations()
