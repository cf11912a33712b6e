"""`hub adapter new`: what it writes is green as it is, is found as an installed package, and runs in a real hub."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from tests.integration.test_hub_run import HUB, hub, init, running, until

IN, OUT = "acme.lab_in", "acme.lab_out"


def new(folder: Path, name: str, *more: str) -> Path:
    ran = subprocess.run([*HUB, "adapter", "new", name, *more], cwd=folder, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    made = folder / name.replace(".", "-").replace("_", "-")
    assert f"{made.name}: " in ran.stdout
    return made


def install(site: Path, project: Path) -> None:
    """As pip would, without a network: the metadata that its entry point stands in, and the project's folder on the path."""
    dist = project.name.replace("-", "_")
    info = site / f"{dist}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project.name}\nVersion: 0.1.0\n", encoding="utf-8")
    points = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]["hub.adapters"]
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[hub.adapters]", *lines, ""]), encoding="utf-8")
    (site / f"{dist}.pth").write_text(f"{project}\n", encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Scaffolds and installs a package; for this process and those that it starts."""
    folder = tmp_path / "site"
    path = [str(folder)]

    def one(name: str, *more: str) -> Path:
        project = new(tmp_path, name, *more)
        install(folder, project)
        path.append(str(project))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
        monkeypatch.syspath_prepend(str(project))
        return project

    yield one
    for module in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[module]


@pytest.mark.parametrize("name", [IN, OUT])
def test_what_is_written_is_green_at_once(site: Callable[..., Path], name: str) -> None:
    project = site(name)
    assert {"pyproject.toml", "README.md", "maps", "tests"} <= {path.name for path in project.iterdir()}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error::pytest.PytestWarning"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert " passed" in ran.stdout
    assert "skipped" not in ran.stdout
    written = [path for path in project.rglob("*") if path.suffix in (".py", ".toml", ".md")]
    assert [path.name for path in written if "xample" in path.read_text(encoding="utf-8").replace("example.org", "")] == []


def test_the_site_style_is_clean(site: Callable[..., Path]) -> None:
    for name in (IN, OUT):
        project = site(name)
        checked = subprocess.run(
            [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "130", "--select", "F,W,UP,B,C4,SIM", "."],
            cwd=project, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stdout


def test_both_run_in_a_real_hub(site: Callable[..., Path], tmp_path: Path) -> None:
    """A row comes by the one, becomes a patient, and goes out by the other; and as it came into a folder."""
    asks, tells = site(IN), site(OUT, "--system", "erp")
    home = tmp_path / "hub"
    _, ports = init(home)
    (tmp_path / "drop").mkdir()
    source = importlib.import_module("acme_lab_in.peer").AcmeLabInPeer()
    receiver = importlib.import_module("acme_lab_out.peer").AcmeLabOutPeer()
    with source, receiver:
        channels = f"""
[channels.lab]
adapter = "{IN}"
system = "ocs"
url = "{source.url}"
poll_seconds = 0.1
overlay = "{asks / "maps"}"
[channels.erp]
adapter = "{OUT}"
system = "erp"
url = "{receiver.url}"
map_file = "{tells / "maps" / "patients.toml"}"
[channels.files]
adapter = "raw.folder_out"
system = "pacs"
folder = "{tmp_path / "drop"}"
suffix = ".json"
[[routes]]
to = ["files"]
from_channels = ["lab"]
where = {{ "SNAME" = ["뷁*"] }}
"""
        file = home / "hub.toml"
        file.write_text(file.read_text(encoding="utf-8") + channels, encoding="utf-8")
        assert "acme-lab-in: rows as JSON lines" in hub_kinds()
        checked = hub(home, "check")
        assert "messages as they came from lab where SNAME is 뷁*" in checked
        with running(home, ports):
            source.tell({"PANO": "100", "SNAME": "홍길동", "BIRTH": "19870504"})
            source.tell({"PANO": "101", "SNAME": "뷁길동", "BIRTH": "19900101"})
            until(lambda: len(receiver.received) == 2, 30)
            until(lambda: any((tmp_path / "drop").glob("*.json")), 10)
            time.sleep(0.3)
        assert sorted(thing["name"] for _, thing in receiver.received) == ["뷁길동", "홍길동"]
        (passed,) = (tmp_path / "drop").glob("*.json")
        assert orjson.loads(passed.read_bytes())["row"]["SNAME"] == "뷁길동"
        shown = hub(home, "show", "2")
        assert "files" in shown


def hub_kinds() -> str:
    return subprocess.run([*HUB, "channel", "kinds"], capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["acme.lab"], "end it with _in or _out"),
        (["lab_in"], "write one like acme.lab_in"),
        (["ocs.hl7_in"], "is a name of the hub itself"),
        (["acme.lab_in", "--protocol", "smoke"], 'there is no protocol "smoke"'),
        (["acme.lab_in", "--system", "crm"], "write ocs, emr, erp or pacs"),
        (["acme.lab_in", "--folder", "."], "is there already"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, arguments: list[str], text: str) -> None:
    (tmp_path / "something").write_text("", encoding="utf-8")
    ran = subprocess.run([*HUB, "adapter", "new", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert text in " ".join(ran.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["something"]
