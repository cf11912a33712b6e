"""With CI=true a test that does not run is a failure with its reason; without, it is a skip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
TESTS = """
import pytest

def test_here():
    pytest.skip("no weather")

def test_corpus(corpus):
    assert corpus

@pytest.mark.xfail(strict=True)
def test_known():
    assert False
"""


@pytest.mark.parametrize(("ci", "code", "text"), [("true", 1, "CI=true and a test did not run"), ("", 0, "2 skipped")])
def test_skips(tmp_path: Path, ci: str, code: int, text: str) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(HERE / "conftest.py", tmp_path / "tests")
    shutil.copytree(HERE / "servers", tmp_path / "tests/servers")
    (tmp_path / "tests/test_it.py").write_text(TESTS)
    environment = {**os.environ, "CI": ci, "HUB_CORPUS": str(tmp_path / "none")}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--rootdir", ".", "tests"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == code, ran.stdout
    assert text in ran.stdout
    assert "no corpus" in ran.stdout
    assert "1 xfailed" in ran.stdout
