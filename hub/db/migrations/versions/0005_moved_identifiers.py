"""The index of numbers that a merge or move took elsewhere, for databases that were made before it.

A new database has it from 0001, which makes all tables as they stand in hub/db/tables.py.
"""

from alembic import op

from hub.db.tables import identifier

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for index in identifier.indexes:
        index.create(op.get_bind(), checkfirst=True)


def downgrade() -> None:
    """Nothing to take back: what 0001 knows is there."""
