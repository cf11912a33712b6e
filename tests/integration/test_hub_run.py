"""`hub init` and `hub run` as a hospital's IT types them, in processes of their own, on SQLite and on PostgreSQL with Redis."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.cli.common import database
from hub.cli.messages import snapshot
from hub.config import load
from tests import servers

HUB = [sys.executable, "-m", "hub"]
MESSAGE = (
    "MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122090000||ADT^A04^ADT_A01|{id}|P|2.5|||AL|NE|KOR|UNICODE UTF-8\rEVN|A04|20261122090000\r"
    "PID|1||{number}^^^HOSP^MR||남궁^민수^^^^^L^I||19800131|M|||강남구^^서울특별시^^06236^KR^H||^PRN^CP^^82^10^12345678\r"
    "PV1|1|O|OPD^101^^HOSP||||D001^이^의사||||||||||||||V{number}\r"
)


def hub(folder: Path, *arguments: object, code: int = 0) -> str:
    """Run one command; its stdout."""
    ran = subprocess.run(
        [*HUB, *map(str, arguments), "--config", str(folder / "hub.toml")], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout


def status(folder: Path) -> dict[str, Any]:
    """What `hub status --json` prints, without the start of a process for each look."""
    config = load(folder / "hub.toml")
    with database(config) as engine:
        return snapshot(config, engine)


def until(what: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


@contextmanager
def running(folder: Path, ports: tuple[int, int]) -> Iterator[subprocess.Popen[bytes]]:
    """`hub run`, ready; ended cleanly within 10 s at the end."""
    with (folder / "run.log").open("ab") as log:
        process = subprocess.Popen([*HUB, "run", "--config", str(folder / "hub.toml"), "--log-format", "json"], stderr=log)
    try:
        until(lambda: process.poll() is None and all(answers(port) for port in ports), 60)
        yield process
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, (folder / "run.log").read_text()[-3000:]
        assert time.monotonic() - begun < 10
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(5)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


def init(folder: Path, *more: str) -> tuple[dict[str, Any], tuple[int, int]]:
    ports = servers.free_port(), servers.free_port()
    made = subprocess.run(
        [*HUB, "init", str(folder), "--mllp-port", str(ports[0]), "--web-port", str(ports[1]), "--json", *more],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout), ports


def send(folder: Path, first: int, count: int) -> None:
    file = folder / "feed.hl7"
    file.write_text("".join(MESSAGE.format(id=f"C{n}", number=f"{n:08d}") for n in range(first, first + count)), newline="")
    told = json.loads(hub(folder, "send", file, "--channel", "ocs-in", "--json"))
    assert told["answers"] == {"CA": count}


def one_day(folder: Path, made: dict[str, Any], ports: tuple[int, int]) -> None:
    """Messages in, status, reading by the API, reload with and without a mistake, verify, backup."""
    with running(folder, ports) as process:
        send(folder, 1, 20)
        until(lambda: status(folder)["channels"]["ocs-in"]["done"] == 20)
        assert status(folder)["pid"] == process.pid
        request = urllib.request.Request(
            f"http://127.0.0.1:{ports[1]}/api/v1/patients?identifier=HOSP%7C00000007",
            headers={"Authorization": f"Bearer {made['token']}"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert "남궁민수" in answer.read().decode()
        reloads(folder, process)
        assert hub(folder, "db", "check").startswith("schema")
        assert hub(folder, "backup", folder / "copy")
    until(lambda: not (folder / "hub.pid").exists())
    report = json.loads(hub(folder, "audit", "verify", "--json"))
    assert (report["ok"], report["covered"] > 0) == (True, True)
    with running(folder, ports):
        send(folder, 1, 20)  # the same again: answered from what is stored
        send(folder, 21, 5)
        until(lambda: status(folder)["channels"]["ocs-in"]["done"] == 25)
        assert status(folder)["channels"]["ocs-in"]["duplicate"] == 20
    log = (folder / "run.log").read_text()
    assert "남궁" not in log
    assert "12345678" not in log


def reloads(folder: Path, process: subprocess.Popen[bytes]) -> None:
    good = (folder / "hub.toml").read_text()
    (folder / "hub.toml").write_text(good.replace('system = "ocs"', 'system = "ocs"\nmax_conections = 3'))
    hub(folder, "reload", code=2)
    (folder / "hub.toml").write_text(good.replace('name = "Hospital Hub"', 'name = "다른 병원"'))
    assert str(process.pid) in hub(folder, "reload")
    until(lambda: "configuration adopted" in (folder / "run.log").read_text())
    actions = [one["action"] for one in json.loads(hub(folder, "audit", "log", "--json"))]
    assert "config.reloaded" in actions
    assert process.poll() is None


def test_a_day_on_sqlite(tmp_path: Path) -> None:
    made, ports = init(tmp_path)
    one_day(tmp_path, made, ports)


@pytest.mark.postgres
@pytest.mark.redis
def test_a_day_on_postgresql_with_celery(tmp_path: Path, postgres_url: str, redis: servers.Redis) -> None:
    made, ports = init(tmp_path, "--database", postgres_url, "--broker", redis.url)
    assert postgres_url not in (tmp_path / "hub.toml").read_text()  # it holds a password
    one_day(tmp_path, made, ports)
    left = [pid for pid in os.listdir("/proc") if pid.isdigit() and belongs(pid, str(tmp_path))]
    assert left == []


def belongs(pid: str, folder: str) -> bool:
    """Whether that process is one of a hub in `folder`."""
    try:
        return (
            folder in Path(f"/proc/{pid}/environ").read_text(errors="replace")
            and "hub" in Path(f"/proc/{pid}/cmdline").read_text()
        )
    except OSError:
        return False
