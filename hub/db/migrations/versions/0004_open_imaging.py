"""The index of open imaging orders, for databases that were made before there was a worklist.

A new database has it from 0001, which makes all tables as they stand in hub/db/tables.py.
"""

from alembic import op

from hub.db.tables import resource

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for index in resource.indexes:
        index.create(op.get_bind(), checkfirst=True)


def downgrade() -> None:
    """Nothing to take back: what 0001 knows is there."""
