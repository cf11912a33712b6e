"""What waits for a number that nothing is known under yet, for databases that were made before this.

A new database has it from 0001, which makes all tables as they stand in hub/db/tables.py.
"""

from alembic import op

from hub.db.tables import metadata

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    metadata.create_all(op.get_bind())  # tables that are there stay as they are


def downgrade() -> None:
    """Nothing to take back: what 0001 knows is there."""
