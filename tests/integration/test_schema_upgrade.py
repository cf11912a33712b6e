"""A database of an earlier version gets what it lacks, and keeps what it holds."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from hub.db import schema
from hub.db.tables import metadata
from hub.domain.errors import Misconfigured


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path):
    url = f"sqlite:///{tmp_path}/hub.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = create_engine(url)
    yield made
    made.dispose()


def shape(engine: Engine) -> dict[str, tuple[set[str], set[str]]]:
    found = inspect(engine)
    return {
        name: ({str(c["name"]) for c in found.get_columns(name)}, {str(i["name"]) for i in found.get_indexes(name)})
        for name in found.get_table_names()
    }


def test_a_database_of_the_first_version_is_brought_up_to_date(engine: Engine) -> None:
    schema.upgrade(engine)
    whole = shape(engine)
    with engine.begin() as conn:  # as the first version left it
        conn.execute(text("DROP TABLE mark"))
        conn.execute(text("DROP INDEX resource_by_start"))
        conn.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        conn.execute(text("UPDATE lease SET token = 7 WHERE name = 'sequencer'"))
    with pytest.raises(Misconfigured, match="hub db upgrade"):
        schema.check(engine)
    schema.upgrade(engine)
    schema.check(engine)
    assert shape(engine) == whole
    assert set(whole) == {*metadata.tables, "alembic_version"}
    with engine.connect() as conn:
        assert conn.execute(text("SELECT token FROM lease WHERE name = 'sequencer'")).scalar() == 7
