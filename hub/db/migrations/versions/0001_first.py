"""The first schema: bodies encrypted, work apart from messages, audit log, canonical model."""

from alembic import op
from sqlalchemy import text

from hub.db.tables import COUNTERS, metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        for name in (*COUNTERS, "entry", "link_history"):
            op.execute(f"CREATE SEQUENCE IF NOT EXISTS {name}_id_seq CACHE 1")
    metadata.create_all(bind)
    if bind.dialect.name == "postgresql":
        for name in ("entry", "link_history"):
            op.execute(f"ALTER TABLE {name} ALTER COLUMN id SET DEFAULT nextval('{name}_id_seq')")
        for name in ("change", "entry"):
            op.execute(f"ALTER TABLE {name} ALTER COLUMN tx SET DEFAULT (pg_current_xact_id()::text::bigint)")
        # small and hot: vacuumed early, with room on the page for its updates
        op.execute(
            "ALTER TABLE work SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500)"
        )
    else:
        for name in COUNTERS:
            bind.execute(text("INSERT INTO counter (name, n) VALUES (:name, 0)"), {"name": name})
    for direction in ("in", "out"):
        for bucket in range(64):
            bind.execute(
                text("INSERT INTO lease (name, owner, token, until) VALUES (:name, '', 0, 0)"), {"name": f"{direction}:{bucket}"}
            )
    bind.execute(text("INSERT INTO lease (name, owner, token, until) VALUES ('sequencer', '', 0, 0)"))


def downgrade() -> None:
    metadata.drop_all(op.get_bind())
