"""A hub in a folder, made by `hub init`, and a way to run command lines in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hub.cli import checks, execute


class Ran(NamedTuple):
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        code = execute([str(argument) for argument in arguments])
        caught = capsys.readouterr()
        return Ran(code, caught.out, caught.err)

    return call


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub with a CRM, as `hub init` makes it: once, because keys and schema cost half a second."""
    folder = tmp_path_factory.mktemp("init") / "hub"
    assert execute(["init", str(folder), "--crm-url", "http://127.0.0.1:9/hook", "--json"]) == 0
    return folder


@pytest.fixture
def hub_toml(made_once: Path, tmp_path: Path) -> Path:
    """The path of a fresh hub's hub.toml; nothing in it depends on where it lies."""
    shutil.copytree(made_once, tmp_path / "hub")
    return tmp_path / "hub" / "hub.toml"


@pytest.fixture(autouse=True)
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hub check` tries the ports of hub.toml: tests/integration/test_not_listening.py."""
    monkeypatch.setattr(checks, "addresses", lambda _config: [])
