"""Alembic's environment: runs the revisions on a given connection."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="platelake_version",
)
with context.begin_transaction():
    context.run_migrations()
