"""Read views: what the API, the console and `hub status` show. They only read; every function takes an open Connection."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping


def plain(row: RowMapping) -> dict[str, Any]:
    """A row as a dict. Its keys are str itself: SQLAlchemy's are a subclass, which orjson refuses."""
    return {str(name): value for name, value in row.items()}
