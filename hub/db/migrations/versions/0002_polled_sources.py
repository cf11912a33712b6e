"""Marks of polled sources and the index of bookings by day, for databases that were made before these were.

A new database has them from 0001, which makes all tables as they stand in hub/db/tables.py.
"""

from alembic import op

from hub.db.tables import metadata

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    bind = op.get_bind()
    metadata.create_all(bind)  # tables that are there stay as they are
    for table in metadata.sorted_tables:
        for index in table.indexes:
            index.create(bind, checkfirst=True)


def downgrade() -> None:
    """Nothing to take back: what 0001 knows is there."""
