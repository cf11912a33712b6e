"""Fixtures: one hub on SQLite with a small hospital in it, copied for each test. Import what a test file needs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from hub.web.app import WebHub, create_app
from tests import web_kit


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("web") / "hub.db"
    engine = web_kit.engine_for(f"sqlite:///{path}")
    web_kit.fill(engine)
    engine.dispose()
    return path


@pytest.fixture
def engine(filled: Path, tmp_path: Path) -> Iterator[Engine]:
    shutil.copy(filled, tmp_path / "hub.db")
    made = web_kit.engine_for(f"sqlite:///{tmp_path / 'hub.db'}")
    yield made
    made.dispose()


@pytest.fixture
def hub(engine: Engine) -> WebHub:
    return web_kit.make_hub(engine)


@pytest.fixture
def as_role(hub: WebHub) -> Iterator[Callable[[str], TestClient]]:
    """A client with a token of that role; one event loop for all its requests."""
    made: dict[str, TestClient] = {}
    app = create_app(hub)
    with ExitStack() as loops:

        def client(role: str) -> TestClient:
            if role not in made:
                made[role] = loops.enter_context(web_kit.api(hub, web_kit.token_for(hub, role), app))
            return made[role]

        yield client
