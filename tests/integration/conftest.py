"""Whole hubs for integration tests, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_kit import Kit, make_kit


@pytest.fixture
def kit(tmp_path: Path, database_url: str) -> Iterator[Kit]:
    made = make_kit(tmp_path, database_url)
    yield made
    made.close()


@pytest.fixture
def skipping_kit(tmp_path: Path, database_url: str) -> Iterator[Kit]:
    """Dead messages do not hold their lane back."""
    made = make_kit(tmp_path, database_url, on_dead="skip")
    yield made
    made.close()
