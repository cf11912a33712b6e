"""Fixtures that every kind of test shares. With CI=true nothing is skipped: what cannot run fails, with its reason.

corpus             Path of the message corpus
postgres, redis, mariadb, fhir_server, orthanc, cap   real servers, one of each per test process
database_url       a fresh, empty database, once on SQLite and once on PostgreSQL
sqlite_url, postgres_url   the same, one kind only
free_port          a function that gives TCP ports
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # so that tests can `from tests import servers`

from tests import servers  # noqa: E402 - needs the line above

CI = os.environ.get("CI", "").lower() in ("true", "1")
if not CI:  # there Hypothesis's own profile has the same: how long an example took says how busy the machine was
    settings.register_profile("hub", deadline=None)
    settings.load_profile("hub")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"CI=true and a test did not run. {reason}"
    return report


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of messages that this project did not write."""
    folder = Path(os.environ.get("HUB_CORPUS") or ROOT.parent / "shared" / "corpus")
    if not folder.is_dir():
        pytest.skip(f"no corpus: set HUB_CORPUS or put it into {folder}")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    try:
        server = servers.Postgres().start()
    except servers.NotInstalledError as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis() -> Iterator[servers.Redis]:
    try:
        server = servers.Redis().start()
    except servers.NotInstalledError as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[servers.MariaDB]:
    try:
        server = servers.MariaDB().start()
    except servers.NotInstalledError as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def fhir_server() -> Iterator[servers.FhirServer]:
    """An EMR's FHIR R4 server; what other tests wrote there stays, so write under numbers of your own."""
    try:
        server = servers.FhirServer().start()
    except servers.NotInstalledError as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def orthanc() -> Iterator[servers.Orthanc]:
    """A PACS; what other tests stored there stays, so store under numbers of your own, and let it know your AE title."""
    try:
        server = servers.Orthanc().start()
    except servers.NotInstalledError as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cap() -> Iterator[servers.Cap]:
    """An SAP system's OData services; what other tests wrote there stays, so write under numbers of your own."""
    try:
        server = servers.Cap().start()
    except servers.NotInstalledError as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres: servers.Postgres) -> Iterator[str]:
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hub.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def free_port() -> Callable[[], int]:
    return servers.free_port
