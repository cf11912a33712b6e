"""What deploy/ names exists: commands and options, paths, environment variables, ports, metrics, headings of the runbook."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hub import log, metrics
from hub.cli import app
from hub.web.ops import router

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
HUB: Any = typer.main.get_command(app)
UNITS = sorted((DEPLOY / "systemd").iterdir())
TEXTS = [DEPLOY / "runbook.md", DEPLOY / "compose.yaml", ROOT / "README.md"]


def check_command(words: list[str]) -> None:
    """AssertionError where `hub` has no such command or option. What stands for a value is taken as one."""
    command, path = HUB, ["hub"]
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        if name.startswith("-"):
            assert name in {o for p in command.params for o in p.opts}, f"{' '.join(path)} has no {name}"
            continue
        assert name in command.commands, f"{' '.join(path)} has no command {name}"
        command, path = command.commands[name], [*path, name]
    known = {option: one for one in command.params for option in (*one.opts, *one.secondary_opts)}
    for word in words:
        option = word.split("=")[0]
        if option.startswith("-") and len(option) > 1:
            assert option in known or option == "--help", f"{' '.join(path)} has no {option}"


def commands_in(text: str) -> Iterator[str]:
    """`hub …` in back quotes, in code blocks and behind a comment sign."""
    text = text.replace("\\\n#", "")
    for found in re.finditer(r"`(hub [a-z][^`]*)`|^(?:# +)?(?:.*run --rm hub )?(hub [a-z].*)$", text, re.M):
        yield (found[1] or found[2]).split("#")[0].strip()


def unit(path: Path) -> configparser.ConfigParser:
    made = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    made.optionxform = str  # type: ignore[assignment,method-assign]
    made.read_string(path.read_text())
    return made


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_commands_that_people_are_told_to_type_exist(path: Path) -> None:
    commands = list(commands_in(path.read_text()))
    assert commands
    for command in commands:
        line = re.sub(r"\$\([^)]*\)|…|<[^>]*>", "X", command).split("&&")[0].split(" | ")[0]
        try:
            words = shlex.split(line)
        except ValueError:
            raise AssertionError(command) from None
        for word in words[1:2]:
            for one in word.split("|"):  # `hub a|b` names two
                check_command([one, *words[2:]])


def test_a_command_that_does_not_exist_would_be_found() -> None:
    for wrong in ("hub rum", "hub run --log-fromat json", "hub channel pauze x"):
        with pytest.raises(AssertionError, match="has no"):
            check_command(shlex.split(wrong)[1:])
    assert list(commands_in("a `hub status` b\nhub check   # x\n#   podman compose run --rm hub hub init X")) == [
        "hub status", "hub check", "hub init X",
    ]  # fmt: skip


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_start_what_exists(path: Path) -> None:
    one = unit(path)
    if path.suffix == ".timer":
        assert path.with_suffix(".service") in UNITS
        return
    lines = [value for key, value in one["Service"].items() if key.startswith("Exec")]
    for line in lines:
        found = re.search(r"/opt/hub/bin/hub ([^']*)", line)
        if found:
            check_command(shlex.split(found[1].replace("$(", "X(")))
    environment = one["Service"].get("Environment", "")
    assert environment.split("=")[0] in ("", *variables()), environment


def variables() -> set[str]:
    """Environment variables that the command line reads."""
    return {"HUB_CONFIG", log.LEVEL, log.FORMAT}


def test_the_variables_are_read() -> None:
    def names(command: Any) -> set[str]:
        own = {one.envvar for one in command.params if getattr(one, "envvar", None)}
        return own.union(*(names(sub) for sub in getattr(command, "commands", {}).values()))

    assert names(HUB) >= variables()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for path in UNITS:
        text = path.read_text().replace("/opt/hub/bin/hub", "/bin/true").replace("User=hub\n", "").replace("Group=hub\n", "")
        (tmp_path / path.name).write_text(text)
    for path in UNITS:
        ran = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / path.name)], capture_output=True, text=True, timeout=30
        )
        said = [line for line in ran.stderr.splitlines() if path.name in line]
        assert (ran.returncode, said) == (0, []), ran.stderr


def test_the_unit_gives_the_hub_the_time_that_it_takes_to_end() -> None:
    service = unit(DEPLOY / "systemd" / "hospital-hub.service")["Service"]
    assert service["KillMode"] == "mixed"  # the supervisor ends its children
    assert int(service["TimeoutStopSec"]) > 10
    assert int(re.search(r"stop_grace_period: (\d+)s", (DEPLOY / "compose.yaml").read_text())[1]) > 10  # type: ignore[index]


# -- container ----------------------------------------------------------------------------------------------------------


def container(keyword: str) -> list[str]:
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    return [line.removeprefix(keyword).strip() for line in text.splitlines() if line.startswith(f"{keyword} ")]


def test_the_container_copies_what_exists_and_runs_what_exists() -> None:
    for line in container("COPY"):
        if not line.startswith("--from"):
            for source in line.split()[:-1]:
                assert (ROOT / source).exists(), source
    command = json.loads(container("CMD")[-1])
    assert command[0] == "hub"
    check_command(command[1:])
    for name in re.findall(r"(HUB_[A-Z_]+)=", " ".join(container("ENV"))):
        assert name in variables()


def test_its_python_is_one_that_we_support() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = tuple(map(int, re.search(r">=(\d+)\.(\d+)", project["requires-python"]).groups()))  # type: ignore[union-attr]
    for image in container("FROM"):
        assert tuple(map(int, re.search(r"python:(\d+)\.(\d+)", image).groups())) >= least  # type: ignore[union-attr]


def test_ports_and_health_are_those_of_the_hub() -> None:
    options = {one.name: one.default for one in HUB.commands["init"].params}
    ports = {str(options["mllp_port"]), str(options["web_port"])}
    text = (DEPLOY / "Containerfile").read_text()
    assert set(container("EXPOSE")[0].split()) == ports
    compose = (DEPLOY / "compose.yaml").read_text()
    open_, commented = (set(re.findall(rf"^ +{dash} .*:(\d+)\"", compose, re.M)) for dash in ("-", "# -"))
    assert open_ == ports
    hospital = "".join((ROOT / "tests/e2e/hospital" / name).read_text() for name in ("hub.toml", "back-office.toml"))
    listening = {str(one["port"]) for one in tomllib.loads(hospital)["channels"].values() if "port" in one and "host" not in one}
    assert open_ | commented == listening | {"8080"}  # what docs/hospital.md's hospital opens
    paths = {route.path for route in router.routes}  # type: ignore[attr-defined]
    assert set(re.findall(r"127\.0\.0\.1:8080(/\w+)", text)) == {"/healthz"} <= paths
    scrape = (DEPLOY / "prometheus.yaml").read_text()
    assert set(re.findall(r"metrics_path: (\S+)", scrape)) == {"/metrics"} <= paths
    assert str(options["web_port"]) in scrape


@pytest.mark.slow
def test_what_is_installed_is_whole(tmp_path: Path) -> None:
    """As the container installs it: every module, map, code list, template and migration is there."""
    source = tmp_path / "src"
    shutil.copytree(ROOT / "hub", source / "hub", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    ran = subprocess.run(
        [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q", "build", "--build-lib", str(tmp_path / "lib")],
        cwd=source, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    built = {str(path.relative_to(tmp_path / "lib")) for path in (tmp_path / "lib").rglob("*") if path.is_file()}
    files = {str(path.relative_to(source)) for path in (source / "hub").rglob("*") if path.is_file()}
    assert files - built == set()


# -- dashboards and alerts ------------------------------------------------------------------------------------------------


def series() -> dict[str, tuple[str, ...]]:
    """Names of all series with their labels."""
    found: dict[str, tuple[str, ...]] = {}
    for one in (metrics.TOTAL, metrics.WORK, metrics.LAG, metrics.BLOCKED, metrics.BREAKER, metrics.DOWN):
        found[one._name] = tuple(one._labelnames)
    return found


def check_expression(expression: str) -> None:
    for name in re.findall(r"\bhub_\w+", expression):
        assert name in series(), name
    for name, labels in re.findall(r"(hub_\w+)\{([^}]*)\}", expression):
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', labels):
            assert label in series()[name], (name, label)
            if label == "state":
                assert set(values.split("|")) <= {*metrics.TOTALS, *metrics.STATES}, values
    for group in re.findall(r"by \(([^)]*)\)", expression):
        assert {label.strip() for label in group.split(",")} <= {label for labels in series().values() for label in labels}


def test_dashboards_show_series_that_exist() -> None:
    board = json.loads((DEPLOY / "grafana" / "hospital-hub.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(expressions) > 5
    for expression in expressions:
        check_expression(expression)


def test_alerts_watch_series_that_exist_and_send_to_headings_that_exist() -> None:
    text = (DEPLOY / "alerts.yaml").read_text()
    assert "rule_files: [alerts.yaml]" in (DEPLOY / "prometheus.yaml").read_text()
    expressions = re.findall(r"expr: (.*)", text)
    assert len(expressions) == text.count("- alert:") > 3
    for expression in expressions:
        check_expression(expression)
    headings = [
        line.removeprefix("## ").lower() for line in (DEPLOY / "runbook.md").read_text().splitlines() if line[:3] == "## "
    ]
    for heading in re.findall(r'runbook: "runbook.md: ([^"]*)"', text):
        assert any(one.startswith(heading) for one in headings), heading
