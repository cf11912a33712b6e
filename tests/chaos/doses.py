"""The doses: a small one for `make test`, the full one for `make chaos` (issue of the main job, "Done when" 3)."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.harness import Dose

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
DOSES = {"small": SMALL, "full": FULL}
