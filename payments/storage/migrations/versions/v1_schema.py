"""The first schema, as schema.py has it. No version has been released yet; the first release writes it out here."""

from alembic import op

from payments.storage.schema import metadata

revision = "v1"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    """Drop every table."""
    metadata.drop_all(op.get_bind())
