"""The doses: a small one for `make test`, the full one for `make chaos` (issue of the main job, "Done when" 3)."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.harness import Dose
from tests.chaos.tables import Kind, TableDose, Way

SMALL = [
    Dose("plain, SQLite", 1600, "sqlite"),
    Dose("plain, PostgreSQL and Celery", 1600, "postgresql", "running"),
    Dose("kills, SQLite", 2000, "sqlite", kills=4),
    Dose("kills, PostgreSQL and Celery", 2000, "postgresql", "running", kills=4),
    Dose("kills, Redis flushed", 2000, "postgresql", "flushed", kills=4),
    Dose("kills, Redis absent", 2000, "postgresql", "absent", kills=4),
]
FULL = [
    replace(dose, messages=60_000 if dose.kills else 20_000, kills=20 if dose.kills else 0, limit=900.0, patients=500)
    for dose in SMALL
] + [Dose("plain, SQLite, hub.toml as hub init writes it", 20_000, "sqlite", limit=900.0, patients=500, tuned=False)]
TABLES_SMALL = [
    TableDose("table, watermark, MariaDB", 800, "mariadb", "watermark", kills=2, longest=1.5, limit=150.0),
    TableDose("table, flag, PostgreSQL", 800, "postgresql", "flag", kills=1, longest=1.5, limit=150.0),
    TableDose("table, log, MariaDB", 800, "mariadb", "log", kills=1, longest=1.5, limit=150.0),
]
OLD_SYSTEMS: list[tuple[Kind, str]] = [("mariadb", "MariaDB"), ("postgresql", "PostgreSQL")]
WAYS: list[Way] = ["watermark", "flag", "log"]
TABLES = [
    TableDose("table, watermark, MariaDB, no kills", 100_000, "mariadb", "watermark"),
    *(TableDose(f"table, {way}, {title}", 100_000, kind, way, kills=20) for way in WAYS for kind, title in OLD_SYSTEMS),
]
DOSES: dict[str, list[Dose | TableDose]] = {
    "small": [*SMALL], "full": [*FULL, *TABLES], "odbc": [*TABLES], "odbc-small": [*TABLES_SMALL],
}  # fmt: skip
