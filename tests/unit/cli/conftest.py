"""A hub in a folder, made by `hub init`, and a way to run command lines in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hub.cli import execute


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


@pytest.fixture
def hub_toml(run: Run, tmp_path: Path) -> Path:
    """The path of a fresh hub's hub.toml, with a CRM."""
    ran = run("init", tmp_path / "hub", "--crm-url", "http://127.0.0.1:9/hook", "--json")
    assert ran.code == 0, ran.err
    return tmp_path / "hub" / "hub.toml"
